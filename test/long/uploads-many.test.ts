import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../oci/digest.ts";
import { parseRepository } from "../../oci/repository.ts";
import { createBucket } from "../../registry/bucket/bucket.ts";
import { openS3Store } from "../../registry/s3-store.ts";
import { type ScratchBucket, openScratchBucket } from "../integration/registry/scratch-bucket.ts";

// what the runtime has not come round to collect is no memory that uploads hold
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const signal = AbortSignal.timeout(600_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");
const openUploads = 10_000;
const atATime = 50;
const tailBytes = 20_000;
/** 10,000 tails would be 191 MiB, 10,000 parts 78 GiB */
const allowanceBytes = 96 * mebibyte;

describe("an instance with 10,000 open uploads", () => {
  let scratch: ScratchBucket;
  beforeAll(async () => {
    scratch = await openScratchBucket();
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  it(
    "takes one more image in bounded memory, and all of them are swept",
    async () => {
      const limits = { partMemoryBytes: 32 * mebibyte, tailMemoryBytes: 8 * mebibyte };
      await using store = openS3Store({ ...scratch, ...limits });
      const usedBytes = (): number => {
        collectGarbage();
        const { heapUsed, external } = process.memoryUsage();
        return heapUsed + external;
      };
      const before = usedBytes();
      for (let at = 0; at < openUploads; at += atATime) {
        await Promise.all(
          Array.from({ length: atATime }, async (_, index) => {
            const { id } = await store.uploads.start(repository, signal);
            // every fourth has received something
            if (index % 4 === 0) await store.uploads.append(repository, id, 0, Readable.from([randomBytes(tailBytes)]), signal);
          }),
        );
      }
      expect(usedBytes() - before).toBeLessThan(allowanceBytes);

      const bytes = randomBytes(40 * mebibyte);
      const { id } = await store.uploads.start(repository, signal);
      await store.uploads.append(repository, id, 0, Readable.from([bytes]), signal);
      await store.uploads.finish(repository, id, digestOf(bytes), signal);
      const { body } = await store.blobs.read(repository, digestOf(bytes), undefined, signal);
      expect(digestOf(Buffer.concat((await body.toArray()) as Buffer[]))).toBe(digestOf(bytes));

      const bucket = createBucket(scratch);
      expect(await bucket.list("uploads/", {}, signal)).toHaveLength(openUploads);
      await using sweeping = openS3Store({ ...scratch, idleMs: 0 });
      await sweeping.sweep(signal);
      expect(await bucket.list("uploads/", {}, signal)).toEqual([]);
      expect(await bucket.list("bytes/", {}, signal)).toHaveLength(1);
    },
    10 * 60_000,
  );
});
