import { afterAll, beforeAll, expect, it } from "vitest";
import { tinyApp } from "../../support/apps.ts";
import { type OtlpCollector, openOtlpCollector } from "../../support/otlp-collector.ts";
import { slipway } from "../../support/slipway.ts";
import { type TestStack, startTestStack } from "../../support/stack.ts";

let collector: OtlpCollector;
let stack: TestStack;

beforeAll(async () => {
  collector = await openOtlpCollector();
  // as whoever runs `slipway up` and `slipway deploy` would set it
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.endpoint;
  stack = await startTestStack();
  const bases = await slipway(stack.dataDir, ["image", "bases", "busybox"]);
  expect(bases.code, bases.stderr).toBe(0);
});
afterAll(async () => {
  await stack?.stop();
  await collector[Symbol.asyncDispose]();
});

it("a deploy is one trace: command, workflow, activities, the mirror that BuildKit pushes to, replication, registry, S3", async () => {
  await using app = await tinyApp("traced", "traced");
  const { code, stderr } = await slipway(stack.dataDir, ["deploy", app.dir, "--wait-for", "replicated"]);
  expect(code, stderr).toBe(0);

  const root = () => collector.spans.find(({ name }) => name === "slipway deploy");
  const inTrace = () =>
    collector.spans.filter(({ traceId }) => traceId === root()?.traceId).map(({ service, name }) => `${service}: ${name}`);
  await expect
    .poll(inTrace, { timeout: 40_000 })
    .toEqual(
      expect.arrayContaining([
        "slipway-cli: slipway deploy",
        "slipway-cli: StartWorkflow:deploy",
        "slipway-registry: PUT finishUpload",
        "slipway-control: RunWorkflow:deploy",
        "slipway-host: RunActivity:build",
        "slipway-mirror: PUT writeManifest",
        "slipway-control: RunWorkflow:replicateImage",
        "slipway-host: RunActivity:pushUpstream",
        "slipway-host: HTTP PUT",
        "slipway-registry: PUT writeManifest",
        "slipway-registry: S3 PutObject",
      ]),
    );
});
