import { expect, it } from "vitest";
import { createMetrics } from "../../../registry/observe/metrics.ts";

it("the registry's metrics count a method that nobody knows as other", async () => {
  const metrics = createMetrics();
  for (const method of ["GET", "BREW", "PROPFIND"]) {
    metrics.request({ method, operation: "none", status: 404, durationMs: 3, receivedBytes: 0, sentBytes: 10 });
  }
  const { text, contentType } = await metrics.expose();
  expect(contentType).toContain("text/plain");
  expect(text).toContain('slipway_registry_requests_total{method="GET",operation="none",status="404"} 1');
  expect(text).toContain('slipway_registry_requests_total{method="other",operation="none",status="404"} 2');
  expect(text).not.toContain("BREW");
});
