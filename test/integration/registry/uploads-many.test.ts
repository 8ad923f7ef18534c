import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, inject, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createS3Client } from "../../../registry/bucket/s3-client.ts";
import { openS3Store } from "../../../registry/s3-store.ts";
import { type FaultyS3, openFaultyS3 } from "./faulty-s3.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(600_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");

describe("an instance with many open uploads", () => {
  let scratch: ScratchBucket;
  let faulty: FaultyS3;
  beforeAll(async () => {
    scratch = await openScratchBucket();
    faulty = await openFaultyS3();
  });
  afterAll(async () => {
    await faulty[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  it("lets no client that sends byte by byte keep the memory from others", async () => {
    const s3 = createS3Client({ ...inject("s3"), endpoint: faulty.endpoint, forcePathStyle: true });
    const partPlan = { sizes: "growing", firstPartBytes: 5 * mebibyte } as const;
    await using store = openS3Store({ s3, bucket: scratch.bucket, partPlan, partMemoryBytes: 10 * mebibyte });
    const stop = new AbortController();
    const dripping = Array.from({ length: 20 }, async () => {
      const { id } = await store.uploads.start(repository, signal);
      const drops = Readable.from(
        (async function* () {
          while (!stop.signal.aborted) {
            yield Buffer.from("x");
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
        })(),
      );
      const status = await store.uploads.append(repository, id, 0, drops, signal);
      const text = "x".repeat(status.receivedBytes);
      await store.uploads.finish(repository, id, digestOf(text), signal);
    });
    const bytes = randomBytes(12 * mebibyte);
    const { id } = await store.uploads.start(repository, signal);
    await store.uploads.append(repository, id, 0, Readable.from([bytes]), signal);
    await store.uploads.finish(repository, id, digestOf(bytes), signal);
    stop.abort();
    await Promise.all(dripping);
    s3.destroy();
  });
});
