import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { collectorUrl } from "../../../config/tracing/start-tracing.ts";

const module = path.resolve(import.meta.dirname, "../../../config/tracing/start-tracing.ts");
const client = path.resolve(import.meta.dirname, "../../../oci/distribution-client.ts");

describe("tracing", () => {
  it.each([
    [{}, undefined, undefined],
    [{}, "http://c:4318", "http://c:4318/v1/traces"],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://e:4318/" }, "http://c:4318", "http://e:4318/v1/traces"],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://t/x", OTEL_EXPORTER_OTLP_ENDPOINT: "http://e" }, undefined, "http://t/x"],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://e", OTEL_SDK_DISABLED: "true" }, "http://c", undefined],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://e", OTEL_TRACES_EXPORTER: "none" }, undefined, undefined],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "" }, undefined, undefined],
  ])("goes, with %j and the setting %s, to %s", (env, setting, url) => {
    expect(collectorUrl(env, setting)).toBe(url);
  });

  it("loads nothing of OpenTelemetry while it is off", async () => {
    const script = `
      const { startTracing } = await import(${JSON.stringify(module)});
      await import(${JSON.stringify(client)});
      await startTracing("x");
      const { createRequire } = await import("node:module");
      console.log(Object.keys(createRequire(${JSON.stringify(module)}).cache).filter((file) => /opentelemetry|temporalio/.test(file)).length);`;
    const { OTEL_EXPORTER_OTLP_ENDPOINT: _, ...env } = process.env;
    const count = async (more: object) =>
      Number((await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { env: { ...env, ...more } })).stdout);
    expect(await count({})).toBe(0);
    expect(await count({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" })).toBeGreaterThan(10);
  });
});
