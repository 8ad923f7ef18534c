import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { openS3Store } from "../../../registry/s3-store.ts";
import { createRegistryProcess, openS3Detour } from "./registry-process.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");

describe("what a killed registry left in the bucket", () => {
  let scratch: ScratchBucket;
  beforeEach(async () => {
    scratch = await openScratchBucket();
  });
  afterEach(() => scratch[Symbol.asyncDispose]());

  const pushAndCheck = async (url: string, bytes: Buffer): Promise<void> => {
    using client = createDistributionClient({ baseUrl: url });
    await client.pushBlob(
      repository,
      { digest: digestOf(bytes), sizeBytes: bytes.length, open: (offset) => Readable.from([bytes.subarray(offset)]) },
      signal,
    );
    await check(url, bytes);
  };
  const check = async (url: string, bytes: Buffer): Promise<void> => {
    using client = createDistributionClient({ baseUrl: url });
    const content = await client.readBlob(repository, digestOf(bytes), undefined, signal);
    expect(digestOf(Buffer.concat(await content!.body.toArray()))).toBe(digestOf(bytes));
  };
  /** A body that sends its bytes and then neither goes on nor ends. */
  const unending = (bytes: Buffer): ReadableStream => new ReadableStream({ start: (controller) => controller.enqueue(bytes) });
  const patch = async (url: string, bytes: Buffer): Promise<void> => {
    const started = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
    const target = new URL(started.headers.get("location")!, url);
    void fetch(target, { method: "PATCH", body: unending(bytes), duplex: "half" }).catch(() => {});
  };
  const untilGone = async (count: () => Promise<number>, wanted: number): Promise<void> => {
    while ((await count()) !== wanted) await sleep(100);
  };
  const unnamed = async (): Promise<number> =>
    (await scratch.keys("bytes/")).length - (await scratch.keys("digests/")).length + (await scratch.keys("unlinked/")).length;

  it("goes when it starts again, and another instance's running upload goes on", async () => {
    await using registry = await createRegistryProcess(scratch.bucket);
    await using other = await createRegistryProcess(scratch.bucket);
    await Promise.all([registry.start(), other.start()]);
    const live = [randomBytes(9 * mebibyte), randomBytes(1000)];
    for (const bytes of live) await pushAndCheck(registry.url, bytes);

    using client = createDistributionClient({ baseUrl: other.url });
    let goOn = () => {};
    const pause = new Promise<void>((resolve) => (goOn = resolve));
    const theirs = randomBytes(20 * mebibyte);
    const running = client.pushBlob(
      repository,
      {
        digest: digestOf(theirs),
        sizeBytes: theirs.length,
        open: (offset) =>
          Readable.from(
            (async function* () {
              yield theirs.subarray(offset, 12 * mebibyte);
              await pause;
              yield theirs.subarray(12 * mebibyte);
            })(),
          ),
      },
      signal,
    );
    await untilGone(() => scratch.multipartUploads(), 1);
    await patch(registry.url, randomBytes(10 * mebibyte));
    await patch(registry.url, randomBytes(17 * mebibyte));
    await untilGone(() => scratch.multipartUploads(), 3);

    await registry.stop("SIGKILL");
    expect(await scratch.multipartUploads()).toBe(3);
    await registry.start();
    await untilGone(() => scratch.multipartUploads(), 1);
    goOn();
    await running;
    await check(other.url, theirs);
    for (const bytes of live) await check(registry.url, bytes);
    expect(await unnamed()).toBe(0);
  });

  it.each([
    ["small", 1000],
    ["in parts", 12 * mebibyte],
  ])("goes when it was stored and not named yet (%s)", async (_kind, sizeBytes) => {
    await using detour = await openS3Detour();
    await using registry = await createRegistryProcess(scratch.bucket, detour.endpoint);
    await registry.start();
    const live = randomBytes(1000);
    await pushAndCheck(registry.url, live);
    const bytes = randomBytes(sizeBytes);
    const held = detour.holdNext("/digests/");
    const lost = pushAndCheck(registry.url, bytes).catch(() => "lost");
    await held;
    expect(await scratch.keys("bytes/")).toHaveLength(2);
    await registry.stop("SIGKILL");
    await lost;
    await registry.start();
    await untilGone(async () => (await scratch.keys("bytes/")).length, 1);
    await untilGone(unnamed, 0);
    await check(registry.url, live);
    await pushAndCheck(registry.url, bytes);
  });

  it("stays when a digest names it, and the next push of the digest takes it", async () => {
    await using detour = await openS3Detour();
    await using registry = await createRegistryProcess(scratch.bucket, detour.endpoint);
    await registry.start();
    const bytes = randomBytes(1000);
    const held = detour.holdNext("/repositories/");
    const lost = pushAndCheck(registry.url, bytes).catch(() => "lost");
    await held;
    const stored = await scratch.keys("bytes/");
    await registry.stop("SIGKILL");
    await lost;
    await registry.start();
    await untilGone(unnamed, 0);
    await pushAndCheck(registry.url, bytes);
    expect(await scratch.keys("bytes/")).toEqual(stored);
  });

  it("is no concern of another instance, nor are uploads that are under way", async () => {
    await using killed = openS3Store({ ...scratch, writer: "killed", idleTailLimitBytes: 0 });
    await using ours = openS3Store({ ...scratch, writer: "ours", idleTailLimitBytes: 0 });
    const bytes = randomBytes(9 * mebibyte);
    const uploads = [];
    for (const { uploads: store } of [killed, ours]) {
      const { id } = await store.start(repository, signal);
      await store.append(repository, id, 0, Readable.from([bytes]), signal);
      uploads.push({ store, id });
    }
    expect(await scratch.keys("uploads/")).toHaveLength(2);
    await ours.sweep(signal);
    for (const { store, id } of uploads) await store.finish(repository, id, digestOf(bytes), signal);
    expect(await scratch.keys("bytes/")).toHaveLength(1);
    expect(await unnamed()).toBe(0);
  });

  it("goes by its age when its instance does not come back", async () => {
    const former = openS3Store({ ...scratch, writer: "gone", idleTailLimitBytes: 0 });
    const { id } = await former.uploads.start(repository, signal);
    await former.uploads.append(repository, id, 0, Readable.from([randomBytes(9 * mebibyte)]), signal);
    await using other = openS3Store({ ...scratch, writer: "other", strangersAgeMs: 60_000 });
    await other.sweep(signal);
    expect([await scratch.multipartUploads(), (await scratch.keys("uploads/")).length]).toEqual([1, 1]);
    await using later = openS3Store({ ...scratch, writer: "later", strangersAgeMs: 0 });
    await later.sweep(signal);
    expect([await scratch.multipartUploads(), (await scratch.keys("uploads/")).length]).toEqual([0, 0]);
    await former[Symbol.asyncDispose]();
  });

  it("goes by the page: more than S3 lists at once", async () => {
    const former = openS3Store({ ...scratch, writer: "same", idleTailLimitBytes: 0 });
    for (let at = 0; at < 1010; at += 101) {
      await Promise.all(
        Array.from({ length: 101 }, async () => {
          const { id } = await former.uploads.start(repository, signal);
          await former.uploads.append(repository, id, 0, Readable.from([Buffer.from("tail")]), signal);
        }),
      );
    }
    expect((await scratch.keys("uploads/")).length).toBe(1000);
    await using again = openS3Store({ ...scratch, writer: "same" });
    await again.sweep(signal);
    expect(await scratch.keys("uploads/")).toEqual([]);
    await former[Symbol.asyncDispose]();
  });
});
