import { randomUUID } from "node:crypto";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { TestWorkflowEnvironment } from "@temporalio/testing";
import { DefaultLogger, Runtime, Worker, bundleWorkflowCode } from "@temporalio/worker";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { createImageActivities } from "../../../activities/image.ts";
import { createUnfinishedUploads } from "../../../mirror/replicate/unfinished-uploads.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { searchAttributeNames, workflowIds } from "../../../workflows/ids.ts";
import type { replicateImage } from "../../../workflows/index.ts";
import { openMirrorHarness, orgName, pushImage } from "../../support/mirror-harness.ts";
import { startContainerd } from "../../support/own-containerd.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import { failing } from "../../support/scripted-host.ts";
import { startScriptedProxy } from "../../support/scripted-proxy.ts";
import { imageOf } from "../../support/test-image.ts";

const workflowsPath = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../workflows/index.ts");

let env: TestWorkflowEnvironment;
let workflowBundle: Awaited<ReturnType<typeof bundleWorkflowCode>>;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  const executable = { type: "existing-path", path: path.join(inject("toolsBinDir"), "temporal-test-server") } as const;
  env = await TestWorkflowEnvironment.createTimeSkipping({ server: { executable } });
  const searchAttributes = Object.fromEntries(Object.values(searchAttributeNames).map((name) => [name, 2]));
  workflowBundle = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger("ERROR") });
  await env.connection.operatorService.addSearchAttributes({ namespace: "default", searchAttributes });
});

afterAll(() => env?.teardown());

it("replicateImage tries for a day while upstream is down, keeps the pin until then, and says how often it tried", async () => {
  const startedAt = await env.currentTimeMs();
  const calls = { pinImage: 0, pushUpstream: 0, unpinImage: 0 };
  const activities = {
    pinImage: async () => void calls.pinImage++,
    unpinImage: async () => void calls.unpinImage++,
    pushUpstream: async () => {
      calls.pushUpstream++;
      if ((await env.currentTimeMs()) - startedAt < 24 * 3600_000) throw failing("UpstreamDown", false);
      expect(calls.unpinImage).toBe(0);
      return { sentBytes: 1, skippedBytes: 0 };
    },
  };
  const view = await replicate(activities, { org: "acme", repository: parseRepository("acme/durable"), digest: digestOf("durable") });
  expect(view).toMatchObject({ status: "durable", sentBytes: 1 });
  expect(view.attempts).toBeGreaterThan(500);
  expect(view.attempts).toBe(calls.pushUpstream);
  expect(calls.unpinImage).toBe(1);
});

it("replicateImage waits as long as upstream asks for, and keeps the pin while upstream gives back something else", async () => {
  await using stack = new AsyncDisposableStack();
  const name = orgName("replicated");
  const upstream = stack.use(await openMirrorHarness({ upstreamUrl: "none" }));
  const above = await upstream.org(name);
  const proxy = stack.use(await startScriptedProxy(above.baseUrl));
  const mirror = stack.use(await openMirrorHarness({ containerdSocket: stack.use(await startContainerd()).socket, upstreamUrl: "none" }));
  const org = await mirror.org(name);
  const image = await imageOf([{ a: randomUUID() }]);
  const repository = org.repository("app");
  await pushImage(org.client, repository, "v1", image);
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const activities = createImageActivities({
    containerd: org.scratch.containerd,
    images: mirror.images,
    upstream: stack.use(createDistributionClient({ baseUrl: proxy.url })),
    mirror: { fetchImage: () => Promise.reject(new Error("nothing is fetched here")) },
    ensureOrg: async () => undefined,
    uploads: createUnfinishedUploads(dir),
  });
  const isPinned = async () =>
    (await mirror.images.list(name, AbortSignal.timeout(10_000))).some(({ tag, pinned }) => tag === "v1" && pinned);
  const attemptedAtMs: number[] = [];
  const pushUpstream: typeof activities.pushUpstream = async (input) => {
    expect(await isPinned()).toBe(true);
    attemptedAtMs.push(await env.currentTimeMs());
    if (attemptedAtMs.length === 1) proxy.script.refuseNext = { status: 429, headers: { "retry-after": "1800" } };
    if (attemptedAtMs.length === 2) proxy.script.liesAboutNextManifest = true;
    return activities.pushUpstream(input);
  };
  const view = await replicate({ ...activities, pushUpstream }, { org: name, repository, digest: image.manifest.descriptor.digest });
  expect(view).toMatchObject({ status: "durable", attempts: 3 });
  expect(attemptedAtMs[1]! - attemptedAtMs[0]!).toBeGreaterThanOrEqual(1800_000);
  expect(view.lastError).toContain(image.manifest.descriptor.digest);
  expect(await isPinned()).toBe(false);
  expect((await upstream.images.verify({ org: name, repository, tag: "v1" }, AbortSignal.timeout(10_000))).digest).toBe(
    image.manifest.descriptor.digest,
  );
});

async function replicate(activities: object, image: { readonly org: string; readonly repository: Repository; readonly digest: Digest }) {
  const control = await Worker.create({ connection: env.nativeConnection, taskQueue: "control", workflowBundle });
  const host = await Worker.create({ connection: env.nativeConnection, taskQueue: "host:test", activities });
  return await control.runUntil(
    host.runUntil(() =>
      env.client.workflow.execute<typeof replicateImage>("replicateImage", {
        taskQueue: "control",
        workflowId: workflowIds.replicateImage(image.repository, image.digest),
        args: [{ ...image, host: "test", tag: "v1" }],
      }),
    ),
  );
}
