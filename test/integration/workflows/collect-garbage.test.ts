import { randomBytes, randomUUID } from "node:crypto";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Connection, WorkflowFailedError, type WorkflowHandle, defaultPayloadConverter } from "@temporalio/client";
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkflowBundle, bundleWorkflowCode } from "@temporalio/worker";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { createRegistryActivities } from "../../../activities/registry.ts";
import { controlTaskQueue } from "../../../config/paths.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { type Bucket, createBucket } from "../../../registry/bucket/bucket.ts";
import { storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { ensureGarbageSchedule, garbageScheduleId } from "../../../workers/garbage-schedule.ts";
import { pruneScheduleId } from "../../../workers/prune-schedule.ts";
import type { CollectGarbageInput, GarbageReport, ScrubReport } from "../../../workflows/types.ts";
import { eventually } from "../../support/eventually.ts";
import { openS3Detour } from "../registry/registry-process.ts";
import { type ScratchBucket, openScratchBucket } from "../registry/scratch-bucket.ts";
import { type StoredImages, createStoredImages } from "../registry/stored-images.ts";
import { createControlProcess } from "./control-process.ts";

const workflowsPath = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../workflows/index.ts");
const signal = AbortSignal.timeout(15 * 60_000);

describe("the workflows that look after the registry", () => {
  let workflowBundle: WorkflowBundle;
  let native: NativeConnection;
  let connection: Connection;
  let client: Client;
  let scratch: ScratchBucket;
  let bucket: Bucket;
  let store: S3Store;
  let images: StoredImages;
  let taskQueue: string;

  beforeAll(async () => {
    Runtime.install({ logger: new DefaultLogger("ERROR") });
    workflowBundle = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger("ERROR") });
    native = await NativeConnection.connect({ address: inject("temporalAddress") });
    connection = await Connection.connect({ address: inject("temporalAddress") });
    client = new Client({ connection });
  });
  afterAll(async () => {
    await connection?.close();
    await native?.close();
  });
  beforeEach(async () => {
    scratch = await openScratchBucket();
    bucket = createBucket(scratch);
    store = openS3Store(scratch);
    images = createStoredImages(store, signal);
    taskQueue = `registry-${randomUUID()}`;
  });
  afterEach(async () => {
    await store[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  const createWorker = (over: Bucket = bucket) =>
    Worker.create({
      connection: native,
      taskQueue,
      workflowBundle,
      activities: createRegistryActivities({ bucket: over, uploadIdleMs: 0 }),
      maxHeartbeatThrottleInterval: "1s",
      defaultHeartbeatThrottleInterval: "1s",
      shutdownGraceTime: "1s",
    });
  const collect = (input: Partial<CollectGarbageInput> = {}): Promise<GarbageReport> =>
    client.workflow.execute<(input: CollectGarbageInput) => Promise<GarbageReport>>("collectGarbage", {
      taskQueue,
      workflowId: `${taskQueue}/${randomUUID()}`,
      args: [{ dryRun: false, graceMs: 0, ...input }],
    });

  it("a dry run tells what the next pass does, and three passes leave only what manifests name", async () => {
    const repository = parseRepository("acme/web");
    const layer = randomBytes(100);
    const blobs = [await images.push(repository, Buffer.from("{}")), await images.push(repository, layer)];
    await images.pushManifest(repository, "v1", blobs);
    await images.push(repository, randomBytes(50));
    const worker = await createWorker();
    await worker.runUntil(async () => {
      const dry = await collect({ dryRun: true });
      expect(dry).toMatchObject({ dryRun: true, repositories: 1, links: { condemned: 1, condemnedBytes: 50, removed: 0 } });
      expect({ ...(await collect()), dryRun: true }).toEqual(dry);
      expect(await collect()).toMatchObject({ links: { removed: 1 }, blobs: { condemned: 1 } });
      expect(await collect()).toMatchObject({ blobs: { removed: 1, removedBytes: 50 }, strays: 0 });
    });
    expect(await scratch.keys("bytes/")).toHaveLength(2);
    expect(await images.isThere(repository, digestOf(layer))).toBe(true);
  });

  it("an activity that breaks off goes on behind the repository it had ended, and counts each once", async () => {
    const names = ["a", "b", "c", "d"];
    for (const name of names) await images.push(parseRepository(name), randomBytes(10));
    const walked: string[] = [];
    const breaking: Bucket = {
      ...bucket,
      walk: async function* (prefix, ...rest) {
        const isLinks = prefix.endsWith("/blobs/");
        if (isLinks) walked.push(prefix);
        // long enough for the heartbeat before to be sent
        if (isLinks && walked.length === 3) await new Promise((resolve) => setTimeout(resolve, 1500));
        if (isLinks && walked.length === 3) throw new Error("the store went away");
        yield* bucket.walk(prefix, ...rest);
      },
    };
    const worker = await createWorker(breaking);
    const report = await worker.runUntil(() => collect());
    expect(report).toMatchObject({ repositories: 4, links: { condemned: 4 } });
    expect(walked.slice(0, 5).map((prefix) => prefix.split("/")[1])).toEqual(["a", "b", "c", "c", "d"]);
  });

  it("a pass whose control worker is killed in the middle goes on behind what it had ended, in the worker that comes after", async () => {
    const stray = randomBytes(10);
    for (const name of ["a", "b", "c", "d"]) await images.push(parseRepository(name), Buffer.concat([stray, Buffer.from(name)]));
    const kept = [await images.push(parseRepository("b"), Buffer.from("{}")), await images.push(parseRepository("b"), randomBytes(100))];
    await images.pushManifest(parseRepository("b"), "v1", kept);
    await using detour = await openS3Detour();
    await using control = await createControlProcess(scratch.bucket, detour.endpoint);
    const pass = () =>
      client.workflow.start<(input: CollectGarbageInput) => Promise<GarbageReport>>("collectGarbage", {
        taskQueue: controlTaskQueue,
        workflowId: `${taskQueue}/${randomUUID()}`,
        args: [{ dryRun: false, graceMs: 0 }],
      });
    try {
      const condemnsInC = detour.holdNext(storageKeys.blobs(parseRepository("c")));
      await control.start();
      const killed = await pass();
      await condemnsInC;
      await eventually(async () => expect(await linksEnded(killed)).toBe(2));
      await control.stop("SIGKILL");
      const before = detour.requests.length;
      await control.start();
      expect(await killed.result()).toMatchObject({ repositories: 4, links: { condemned: 4, removed: 0 }, blobs: { condemned: 0 } });
      const after = detour.requests.slice(before).map(decodeURIComponent);
      expect(after.map((url) => /prefix=repositories\/(.)\/blobs\//.exec(url)?.[1]).find(Boolean)).toBe("c");
      expect(await (await pass()).result()).toMatchObject({ links: { condemned: 0, removed: 4 }, blobs: { condemned: 4 } });
      expect(await (await pass()).result()).toMatchObject({ links: { removed: 0 }, blobs: { condemned: 0, removed: 4 }, strays: 0 });
    } finally {
      for (const id of [garbageScheduleId, pruneScheduleId("test")]) await client.schedule.getHandle(id).delete();
    }
    expect(await scratch.keys("bytes/")).toHaveLength(2);
    for (const { digest } of kept) expect(await images.isThere(parseRepository("b"), digest)).toBe(true);
  });

  /** How many repositories Temporal knows to be done: where the next attempt begins. */
  async function linksEnded(pass: WorkflowHandle): Promise<number | undefined> {
    const [pending] = (await pass.describe()).raw.pendingActivities ?? [];
    const [beat] = pending?.heartbeatDetails?.payloads ?? [];
    return beat === undefined || beat === null
      ? undefined
      : defaultPayloadConverter.fromPayload<{ repositories?: number }>(beat)?.repositories;
  }

  it("a pass that is cancelled ends at once, and the next one does its work", async () => {
    await images.push(parseRepository("a"), randomBytes(10));
    let isWaiting = false;
    const silent: Bucket = {
      ...bucket,
      walk: async function* (prefix, ending, startAfter) {
        if (prefix.endsWith("/blobs/")) {
          isWaiting = true;
          await new Promise((_resolve, reject) => ending.addEventListener("abort", () => reject(ending.reason as Error)));
        }
        yield* bucket.walk(prefix, ending, startAfter);
      },
    };
    const worker = await createWorker(silent);
    await worker.runUntil(async () => {
      const handle = await client.workflow.start("collectGarbage", {
        taskQueue,
        workflowId: taskQueue,
        args: [{ dryRun: false, graceMs: 0 }],
      });
      await eventually(() => expect(isWaiting).toBe(true));
      await handle.cancel();
      await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
      expect((await handle.describe()).status.name).toBe("CANCELLED");
    });
    const next = await createWorker();
    expect(await next.runUntil(() => collect())).toMatchObject({ links: { condemned: 1 } });
  });

  it("scrub finds the damage of everything, or of one repository", async () => {
    const [web, api] = [parseRepository("acme/web"), parseRepository("acme/api")];
    const layer = randomBytes(100);
    await images.push(web, Buffer.from("sound"));
    await images.push(api, layer);
    const record = await bucket.get(storageKeys.digest(digestOf(layer)), signal);
    await bucket.put((JSON.parse(Buffer.from(record!.bytes).toString()) as { key: string }).key, Buffer.from("damaged"), signal);
    const scrub = (repository?: string) =>
      client.workflow.execute<(input: object) => Promise<ScrubReport>>("scrubRegistry", {
        taskQueue,
        workflowId: `${taskQueue}/${randomUUID()}`,
        args: [{ quarantine: false, ...(repository === undefined ? {} : { repository }) }],
      });
    const worker = await createWorker();
    await worker.runUntil(async () => {
      expect(await scrub()).toMatchObject({ blobs: 2, links: 2, damaged: 1, damages: [{ kind: "blob bytes" }] });
      expect(await scrub("acme/web")).toMatchObject({ blobs: 1, links: 1, damaged: 0 });
      expect(await scrub("acme/api")).toMatchObject({ blobs: 1, links: 1, damaged: 1 });
    });
  });

  it("the schedule is made once, follows the settings, stays paused, and starts passes", async () => {
    const handle = client.schedule.getHandle(garbageScheduleId);
    await ensureGarbageSchedule(client, { everyMs: 3_600_000, graceMs: 1000, taskQueue });
    try {
      await handle.pause("by an operator");
      await ensureGarbageSchedule(client, { everyMs: 7_200_000, graceMs: 0, taskQueue });
      const { spec, policies, state } = await handle.describe();
      expect(spec.intervals).toMatchObject([{ every: 7_200_000 }]);
      expect(policies.overlap).toBe("SKIP");
      expect(state.paused).toBe(true);
      await handle.unpause();

      await images.push(parseRepository("a"), randomBytes(10));
      const worker = await createWorker();
      const reports = await worker.runUntil(async () => {
        const ended: GarbageReport[] = [];
        for (let passes = 1; passes <= 2; passes += 1) {
          await handle.trigger();
          let started = "";
          await eventually(async () => {
            const { recentActions } = (await handle.describe()).info;
            expect(recentActions).toHaveLength(passes);
            started = recentActions.at(-1)!.action.workflow.workflowId;
          });
          ended.push((await client.workflow.getHandle(started).result()) as GarbageReport);
          await eventually(async () => expect((await handle.describe()).info.runningActions).toEqual([]));
        }
        return ended;
      });
      expect(reports).toMatchObject([{ links: { condemned: 1 } }, { links: { removed: 1 } }]);
    } finally {
      await handle.delete();
    }
  });
});
