import { randomUUID } from "node:crypto";
import path from "node:path";
import { Client, Connection } from "@temporalio/client";
import { DefaultLogger, NativeConnection, Runtime, Worker, bundleWorkflowCode } from "@temporalio/worker";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { createImageActivities } from "../../../activities/image.ts";
import { startTracing } from "../../../config/tracing/start-tracing.ts";
import { createUnfinishedUploads } from "../../../mirror/replicate/unfinished-uploads.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { tracing } from "../../../oci/tracing.ts";
import { workflowIds } from "../../../workflows/ids.ts";
import type { replicateImage } from "../../../workflows/index.ts";
import { openMirrorHarness, orgName, pushImage } from "../../support/mirror-harness.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import { type OtlpCollector, openOtlpCollector } from "../../support/otlp-collector.ts";
import { imageOf } from "../../support/test-image.ts";
import { createRegistryProcess } from "../registry/registry-process.ts";
import { openScratchBucket } from "../registry/scratch-bucket.ts";

const workflowsPath = path.resolve(import.meta.dirname, "../../../workflows/index.ts");

let collector: OtlpCollector;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  collector = await openOtlpCollector();
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.endpoint;
  // batches leave soon
  process.env.OTEL_BSP_SCHEDULE_DELAY = "50";
});
afterAll(async () => {
  await collector[Symbol.asyncDispose]();
});

it("a replication is one trace, from its start over workflow, activity and the registry to the calls of S3", async () => {
  await using stack = new AsyncDisposableStack();
  const traced = await startTracing("slipway-test");
  stack.use(traced);
  const plugins = [...traced.temporalPlugins];

  const scratch = stack.use(await openScratchBucket());
  const registry = stack.use(await createRegistryProcess(scratch.bucket));
  await registry.start();
  const mirror = stack.use(await openMirrorHarness());
  const org = await mirror.org(orgName("traced"));
  const repository = org.repository("app");
  const image = await imageOf([{ a: randomUUID() }]);
  await pushImage(org.client, repository, "v1", image);

  const upstream = createDistributionClient({ baseUrl: registry.url });
  stack.defer(() => upstream[Symbol.dispose]());
  const native = await NativeConnection.connect({ address: inject("temporalAddress") });
  stack.defer(() => native.close());
  const connection = await Connection.connect({ address: inject("temporalAddress") });
  stack.defer(() => connection.close());
  const client = new Client({ connection, plugins });
  const [queue, host] = [`control-${randomUUID()}`, `traced-${randomUUID().slice(0, 8)}`];
  const workflowBundle = await bundleWorkflowCode({ workflowsPath, plugins, logger: new DefaultLogger("ERROR") });
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const uploads = createUnfinishedUploads(dir);
  const activities = createImageActivities({
    containerd: org.scratch.containerd,
    images: mirror.images,
    upstream,
    mirror: { fetchImage: (name, wanted, signal) => mirror.orgs.fetchImage(name, wanted, signal) },
    ensureOrg: async () => undefined,
    uploads,
  });
  const control = await Worker.create({ connection: native, taskQueue: queue, workflowBundle, plugins });
  const onHost = await Worker.create({ connection: native, taskQueue: `host:${host}`, activities, plugins });

  const { digest } = image.manifest.descriptor;
  const root = { kind: "internal", name: "the test" } as const;
  let traceId: string | undefined;
  const view = await control.runUntil(
    onHost.runUntil(() =>
      tracing.inSpan(root, (span) => {
        traceId = span.traceId;
        return client.workflow.execute<typeof replicateImage>("replicateImage", {
          taskQueue: queue,
          workflowId: workflowIds.replicateImage(repository, digest),
          args: [{ org: org.name, host, repository, digest, tag: "v1" }],
        });
      }),
    ),
  );
  expect(view).toMatchObject({ status: "durable" });
  expect(traceId).toMatch(/^[0-9a-f]{32}$/);

  const inTrace = () => collector.spans.filter((span) => span.traceId === traceId);
  const way = [
    "the test",
    "StartWorkflow:replicateImage",
    "RunWorkflow:replicateImage",
    "StartActivity:pushUpstream",
    "RunActivity:pushUpstream",
    "HTTP PUT",
    "PUT writeManifest",
    "S3 PutObject",
  ];
  await expect.poll(() => inTrace().map(({ name }) => name), { timeout: 20_000 }).toEqual(expect.arrayContaining(way));
  expect(ancestorsOf("S3 PutObject", "PUT writeManifest")).toEqual(way.toReversed());
  expect(new Set(inTrace().map(({ service }) => service))).toEqual(new Set(["slipway-test", "slipway-registry"]));
  expect(inTrace().filter(({ failed }) => failed)).toEqual([]);
  // nothing that the registry did for it is in a trace of its own
  expect(collector.spans.filter((span) => span.service === "slipway-registry" && span.kind === 2 && span.traceId !== traceId)).toEqual([]);

  /** The names from a span up to the root; of several, the one whose parent has the name. */
  function ancestorsOf(name: string, parentName: string): string[] {
    const byId = new Map(inTrace().map((span) => [span.spanId, span]));
    const start = inTrace().find((span) => span.name === name && byId.get(span.parentSpanId ?? "")?.name === parentName);
    const names: string[] = [];
    for (let span = start; span !== undefined; span = byId.get(span.parentSpanId ?? "")) names.push(span.name);
    return names;
  }
});
