import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createS3Client } from "../../../registry/bucket/s3-client.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { type FaultyS3, type S3Request, firstOf, openFaultyS3 } from "./faulty-s3.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");

const isPart = ({ method, url }: S3Request) => method === "PUT" && url.includes("partNumber=");
const isState = ({ method, url }: S3Request) => method === "PUT" && url.includes("/uploads/");
const isComplete = ({ method, url }: S3Request) => method === "POST" && url.includes("uploadId=");
const isCreate = ({ method, url }: S3Request) => method === "POST" && /[?&]uploads/.test(url);
const isDigest = ({ method, url }: S3Request) => method === "PUT" && url.includes("/digests/");
const isBytes = ({ method, url }: S3Request) => method === "PUT" && url.includes("/bytes/");
const isAny = () => true;

describe("uploads over an S3 that fails", () => {
  let scratch: ScratchBucket;
  let faulty: FaultyS3;
  let s3: ReturnType<typeof createS3Client>;
  let store: S3Store;
  beforeEach(async () => {
    scratch = await openScratchBucket();
    faulty = await openFaultyS3();
    s3 = createS3Client({ ...inject("s3"), endpoint: faulty.endpoint, forcePathStyle: true });
    store = openS3Store({ s3, bucket: scratch.bucket });
  });
  afterEach(async () => {
    faulty.decide = () => "pass";
    await store[Symbol.asyncDispose]();
    s3.destroy();
    await faulty[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  const push = async (bytes: Buffer): Promise<void> => {
    const { id } = await store.uploads.start(repository, signal);
    await store.uploads.append(repository, id, 0, Readable.from([bytes]), signal);
    await store.uploads.finish(repository, id, digestOf(bytes), signal);
  };
  const expectWholeAndAlone = async (bytes: Buffer): Promise<void> => {
    const { body } = await store.blobs.read(repository, digestOf(bytes), undefined, signal);
    expect(Buffer.concat((await body.toArray()) as Buffer[]).equals(bytes)).toBe(true);
    expect(await scratch.keys()).toHaveLength(3);
    expect(await scratch.multipartUploads()).toBe(0);
  };

  it.each([
    ["says SlowDown to the first requests of every kind", 20 * mebibyte, firstOf(3, isAny, "slow-down")],
    ["says SlowDown to parts", 30 * mebibyte, firstOf(4, isPart, "slow-down")],
    ["breaks connections in the middle of parts", 30 * mebibyte, firstOf(3, isPart, "reset")],
    ["loses the reply to a part", 20 * mebibyte, firstOf(1, isPart, "lose-reply")],
    ["loses the reply to a state that it stored", 20 * mebibyte, firstOf(1, isState, "lose-reply")],
    ["loses the reply to every state once", 1000, everyOther(isState)],
    ["loses the reply to the bytes of a small blob", 1000, firstOf(1, isBytes, "lose-reply")],
    ["breaks the connection at the beginning of a multipart upload", 20 * mebibyte, firstOf(1, isCreate, "reset")],
    ["loses the reply to the completion that it executed", 20 * mebibyte, firstOf(1, isComplete, "lose-reply")],
    ["loses the reply to the digest that it stored", 1000, firstOf(1, isDigest, "lose-reply")],
  ])("take a blob when it %s", async (_what, sizeBytes, decide) => {
    const bytes = randomBytes(sizeBytes);
    faulty.decide = decide;
    await push(bytes);
    await expectWholeAndAlone(bytes);
  });

  it("keep what arrived when it is gone in the middle, and go on when it is back", async () => {
    const bytes = randomBytes(50 * mebibyte);
    const { id } = await store.uploads.start(repository, signal);
    await store.uploads.append(repository, id, 0, Readable.from([bytes.subarray(0, 18 * mebibyte)]), signal);
    let parts = 0;
    faulty.decide = (request) => (isPart(request) && (parts += 1) <= 1 ? "pass" : "reset");
    const append = store.uploads.append(repository, id, 18 * mebibyte, Readable.from([bytes.subarray(18 * mebibyte)]), signal);
    await expect(append).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(store.uploads.status(repository, id, signal)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(store.uploads.start(repository, signal)).rejects.toMatchObject({ code: "UNAVAILABLE" });

    faulty.decide = () => "pass";
    const { receivedBytes } = await store.uploads.status(repository, id, signal);
    expect(receivedBytes).toBeGreaterThanOrEqual(18 * mebibyte);
    await store.uploads.append(repository, id, receivedBytes, Readable.from([bytes.subarray(receivedBytes)]), signal);
    faulty.decide = (request) => (isComplete(request) ? "slow-down" : "pass");
    await expect(store.uploads.finish(repository, id, digestOf(bytes), signal)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    faulty.decide = () => "pass";
    await store.uploads.finish(repository, id, digestOf(bytes), signal);
    const { body } = await store.blobs.read(repository, digestOf(bytes), undefined, signal);
    expect(Buffer.concat((await body.toArray()) as Buffer[]).equals(bytes)).toBe(true);
    await using sweeping = openS3Store({ ...scratch, idleMs: 0 });
    await sweeping.sweep(signal);
    expect([await scratch.keys("uploads/"), await scratch.multipartUploads()]).toEqual([[], 0]);
  });

  it("never take bytes for received that were lost on their way out of shared memory", async () => {
    const bytes = randomBytes(1000);
    await using tight = openS3Store({ s3, bucket: scratch.bucket, partMemoryBytes: 8 * mebibyte, tailMemoryBytes: 0 });
    const { id } = await tight.uploads.start(repository, signal);
    faulty.decide = (request) => (isBytes(request) && request.url.includes(id) ? "slow-down" : "pass");
    const silent = new Readable({ read: () => {} });
    silent.push(bytes.subarray(0, 500));
    const losing = tight.uploads.append(repository, id, 0, silent, signal);
    const failed = expect(losing).rejects.toMatchObject({ code: "UNAVAILABLE" });
    while (tight.partMemory.lentBytes === 0) await sleep(5);
    const other = await tight.uploads.start(repository, signal);
    await tight.uploads.append(repository, other.id, 0, Readable.from([randomBytes(10)]), signal);
    await failed;

    faulty.decide = () => "pass";
    expect((await tight.uploads.status(repository, id, signal)).receivedBytes).toBe(0);
    await tight.uploads.append(repository, id, 0, Readable.from([bytes.subarray(500)]), signal);
    await expect(tight.uploads.finish(repository, id, digestOf(bytes), signal)).rejects.toMatchObject({ code: "DIGEST_INVALID" });
  });

  it("keep the bytes that a state names of which it is not known whether it was stored", async () => {
    const bytes = randomBytes(1000);
    const { id } = await store.uploads.start(repository, signal);
    faulty.decide = (request) => (isState(request) ? "lose-reply" : "pass");
    const append = store.uploads.append(repository, id, 0, Readable.from([bytes.subarray(0, 600)]), signal);
    await expect(append).rejects.toMatchObject({ code: "UNAVAILABLE" });

    faulty.decide = () => "pass";
    expect((await store.uploads.status(repository, id, signal)).receivedBytes).toBe(600);
    await store.uploads.append(repository, id, 600, Readable.from([bytes.subarray(600)]), signal);
    await store.uploads.finish(repository, id, digestOf(bytes), signal);
    await expectWholeAndAlone(bytes);
  });

  it("need few requests for a small blob", async () => {
    await push(randomBytes(100));
    faulty.requests.length = 0;
    await push(randomBytes(100));
    const kinds = faulty.requests.map(({ method, url }) => `${method} ${url.split("/")[2]?.split("?")[0]}`);
    // start; bytes, state; then state, digest, link (and whether its digest stands), and the state's removal beside it
    expect(kinds.toSorted()).toEqual(
      [
        "PUT uploads",
        "PUT bytes",
        "PUT uploads",
        "PUT uploads",
        "PUT digests",
        "PUT repositories",
        "GET digests",
        "DELETE uploads",
      ].toSorted(),
    );
  });
});

/** Loses the reply to each first attempt; the second one of the same request passes. */
function everyOther(matches: (request: S3Request) => boolean): (request: S3Request) => "pass" | "lose-reply" {
  let count = 0;
  return (request) => (matches(request) && (count += 1) % 2 === 1 ? "lose-reply" : "pass");
}
