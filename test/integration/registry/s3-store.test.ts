import { randomBytes } from "node:crypto";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { describeDistributionStore } from "../../conformance/distribution-store.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");

describeDistributionStore("S3 store", async () => {
  const scratch = await openScratchBucket();
  const store = openS3Store(scratch);
  return {
    store,
    openAnother: async () => {
      const other = openS3Store(scratch);
      return { store: other, close: async () => other[Symbol.asyncDispose]() };
    },
    close: async () => {
      await store[Symbol.asyncDispose]();
      expect(await scratch.multipartUploads()).toBe(0);
      expect(await scratch.keys("uploads/")).toEqual([]);
      await scratch[Symbol.asyncDispose]();
    },
  };
});

describe("S3 store with little memory", () => {
  let scratch: ScratchBucket;
  let store: S3Store;

  beforeAll(async () => {
    scratch = await openScratchBucket();
    // two parts for everybody, and no tail kept in memory
    const partPlan = { sizes: "growing", firstPartBytes: 5 * mebibyte } as const;
    store = openS3Store({ ...scratch, partPlan, partMemoryBytes: 10 * mebibyte, tailMemoryBytes: 0 });
  });
  afterAll(async () => {
    await store[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  it("puts a blob together out of chunks that fit no part, for more clients than it has buffers", async () => {
    await Promise.all(
      [1, 2, 3, 4, 5, 6].map(async () => {
        const bytes = randomBytes(13 * mebibyte + 77);
        const { id } = await store.uploads.start(repository, signal);
        for (let at = 0; at < bytes.length; at += 3_000_001) {
          await store.uploads.append(repository, id, at, Readable.from([bytes.subarray(at, at + 3_000_001)]), signal);
        }
        await store.uploads.finish(repository, id, digestOf(bytes), signal);
        const { body } = await store.blobs.read(repository, digestOf(bytes), undefined, signal);
        expect(digestOf(Buffer.concat(await body.toArray()))).toBe(digestOf(bytes));
      }),
    );
    expect(await scratch.keys("uploads/")).toEqual([]);
    expect(await scratch.multipartUploads()).toBe(0);
  });

  it("leaves nothing in the bucket of an upload that was aborted or had the wrong digest", async () => {
    const before = await scratch.keys();
    const bytes = randomBytes(12 * mebibyte);
    for (const end of [
      (id: string) => store.uploads.abort(repository, id, signal),
      (id: string) => store.uploads.finish(repository, id, digestOf("other"), signal).catch(() => {}),
      (id: string) => store.uploads.finish(repository, id, digestOf("other", "sha512"), signal).catch(() => {}),
    ]) {
      const { id } = await store.uploads.start(repository, signal);
      await store.uploads.append(repository, id, 0, Readable.from([bytes]), signal);
      await end(id);
      expect(await scratch.keys()).toEqual(before);
      expect(await scratch.multipartUploads()).toBe(0);
    }
  });

  it("lends the buffers of clients that send nothing to those that do, and takes up with them later", async () => {
    const bytes = randomBytes(7 * mebibyte);
    const stalled = await Promise.all(
      [1, 2, 3].map(async () => {
        const body = new PassThrough();
        const { id } = await store.uploads.start(repository, signal);
        const appended = store.uploads.append(repository, id, 0, body, signal);
        body.write(bytes.subarray(0, 1_000_000));
        return { id, body, appended };
      }),
    );
    const quick = await store.uploads.start(repository, signal);
    await store.uploads.append(repository, quick.id, 0, Readable.from([bytes]), signal);
    await store.uploads.finish(repository, quick.id, digestOf(bytes), signal);
    for (const { id, body, appended } of stalled) {
      body.end(bytes.subarray(1_000_000));
      expect(await appended).toMatchObject({ receivedBytes: bytes.length });
      await store.uploads.finish(repository, id, digestOf(bytes), signal);
    }
    expect(await scratch.keys("uploads/")).toEqual([]);
  });

  it("keeps the bytes of one digest once, whoever pushes them", async () => {
    const bytes = randomBytes(7 * mebibyte);
    const before = (await scratch.keys("bytes/")).length;
    await Promise.all(
      ["org/a", "org/b", "org/c", "org/d"].map(parseRepository).map(async (target) => {
        const { id } = await store.uploads.start(target, signal);
        await store.uploads.append(target, id, 0, Readable.from([bytes]), signal);
        await store.uploads.finish(target, id, digestOf(bytes), signal);
      }),
    );
    expect((await scratch.keys("bytes/")).length).toBe(before + 1);
  });

  it("leaves its open uploads to others when it is closed", async () => {
    const closing = openS3Store(scratch);
    const bytes = randomBytes(9 * mebibyte);
    const { id } = await closing.uploads.start(repository, signal);
    await closing.uploads.append(repository, id, 0, Readable.from([bytes]), signal);
    await closing[Symbol.asyncDispose]();
    await store.uploads.finish(repository, id, digestOf(bytes), signal);
    expect(await scratch.keys("uploads/")).toEqual([]);
    expect(await scratch.multipartUploads()).toBe(0);
  });
});
