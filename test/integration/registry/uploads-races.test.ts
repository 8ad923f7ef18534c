import { randomBytes } from "node:crypto";
import { PassThrough, Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { DistributionError } from "../../../oci/errors.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createBucket } from "../../../registry/bucket/bucket.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { sweepStrayBytes } from "../../../registry/uploads/sweep-stray-bytes.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");

describe("two instances and one upload", () => {
  let scratch: ScratchBucket;
  let stores: [S3Store, S3Store];
  beforeAll(async () => {
    scratch = await openScratchBucket();
  });
  afterAll(() => scratch[Symbol.asyncDispose]());
  beforeEach(() => {
    const partPlan = { sizes: "growing", firstPartBytes: 5 * mebibyte } as const;
    stores = [openS3Store({ ...scratch, partPlan }), openS3Store({ ...scratch, partPlan })];
  });
  afterEach(async () => {
    for (const store of stores) await store[Symbol.asyncDispose]();
  });

  const readWhole = async (bytes: Buffer): Promise<boolean> => {
    const { body } = await stores[0].blobs.read(repository, digestOf(bytes), undefined, signal);
    return Buffer.concat((await body.toArray()) as Buffer[]).equals(bytes);
  };
  const codeOf = (error: unknown): string => (error instanceof DistributionError ? error.code : String(error));
  const codes = async (calls: Promise<unknown>[]): Promise<string[]> =>
    (await Promise.allSettled(calls)).map((result) => (result.status === "fulfilled" ? "ok" : codeOf(result.reason)));
  /** Whatever happened: nothing is left but live blobs, and each of those is whole. */
  const expectOnlyLive = async (): Promise<void> => {
    await using sweeping = openS3Store({ ...scratch, idleMs: 0 });
    await sweeping.sweep(signal);
    expect([await scratch.keys("uploads/"), await scratch.multipartUploads()]).toEqual([[], 0]);
    expect(await sweepStrayBytes(createBucket(scratch), { idleMs: 0, dryRun: true }, signal)).toEqual([]);
    expect((await scratch.keys("bytes/")).length).toBe((await scratch.keys("digests/")).length);
  };

  it.each([
    ["tails", 100_000],
    ["parts", 12 * mebibyte],
  ])("take one of two bodies for the same place, never a mixture (%s)", async (_what, sizeBytes) => {
    for (let round = 0; round < 5; round += 1) {
      const bodies = [randomBytes(sizeBytes), randomBytes(sizeBytes)];
      const first = randomBytes(1000);
      const { id } = await stores[0].uploads.start(repository, signal);
      await stores[0].uploads.append(repository, id, 0, Readable.from([first]), signal);
      const ends = await codes(
        stores.map(({ uploads }, at) => uploads.append(repository, id, first.length, Readable.from([bodies[at]!]), signal)),
      );
      expect(ends.toSorted()).toEqual(["RANGE_INVALID", "ok"]);
      const whole = Buffer.concat([first, bodies[ends.indexOf("ok")]!]);
      const { receivedBytes } = await stores[1].uploads.status(repository, id, signal);
      expect(receivedBytes).toBe(whole.length);
      await stores[round % 2]!.uploads.finish(repository, id, digestOf(whole), signal);
      expect(await readWhole(whole)).toBe(true);
    }
    await expectOnlyLive();
  });

  it("let the one go on that came later, when the other one's client is silent", async () => {
    const bytes = randomBytes(30 * mebibyte);
    const { id } = await stores[0].uploads.start(repository, signal);
    const stalled = new PassThrough();
    const lost = stores[0].uploads.append(repository, id, 0, stalled, signal).catch(codeOf);
    stalled.write(bytes.subarray(0, 11 * mebibyte));
    while ((await scratch.multipartUploads()) === 0) await sleep(20);
    const { receivedBytes } = await stores[1].uploads.status(repository, id, signal);
    const rest = bytes.subarray(receivedBytes);
    await stores[1].uploads.append(repository, id, receivedBytes, Readable.from([rest]), signal);
    // the stalled one wakes up and sends on: other bytes, to see that none of them gets in
    stalled.end(randomBytes(15 * mebibyte));
    expect(await lost).toBe("RANGE_INVALID");
    await stores[1].uploads.finish(repository, id, digestOf(bytes), signal);
    expect(await readWhole(bytes)).toBe(true);
    await expectOnlyLive();
  });

  it("hand an upload to and fro while its client hops, part by part", async () => {
    const bytes = randomBytes(52 * mebibyte);
    const { id } = await stores[0].uploads.start(repository, signal);
    for (let turn = 0, at = 0; at < bytes.length; turn += 1) {
      const { uploads } = stores[turn % 2]!;
      // nobody may be reading it any more when the client hops
      const body = new PassThrough().on("error", () => undefined);
      const appended = uploads.append(repository, id, at, body, signal).catch(codeOf);
      body.write(bytes.subarray(at, at + 7 * mebibyte));
      await sleep(30);
      body.destroy(new Error("hop"));
      await appended;
      ({ receivedBytes: at } = await stores[(turn + 1) % 2]!.uploads.status(repository, id, signal));
    }
    await stores[0].uploads.finish(repository, id, digestOf(bytes), signal);
    expect(await readWhole(bytes)).toBe(true);
    await expectOnlyLive();
  });

  it.each([
    ["a tail", 1000],
    ["parts", 12 * mebibyte],
    ["nothing", 0],
  ])("finish it twice at once without harm (%s)", async (_what, sizeBytes) => {
    for (let round = 0; round < 10; round += 1) {
      const bytes = randomBytes(sizeBytes);
      const { id } = await stores[0].uploads.start(repository, signal);
      await stores[0].uploads.append(repository, id, 0, Readable.from([bytes]), signal);
      const ends = await codes(stores.map(({ uploads }) => uploads.finish(repository, id, digestOf(bytes), signal)));
      expect(ends).toContain("ok");
      for (const end of ends) expect(["ok", "BLOB_UPLOAD_UNKNOWN"]).toContain(end);
      expect(await readWhole(bytes)).toBe(true);
    }
    await expectOnlyLive();
  });

  it.each([
    ["a tail", 1000],
    ["parts", 12 * mebibyte],
  ])("abort it while it is appended to or finished: it is whole or it is gone (%s)", async (_what, sizeBytes) => {
    for (let round = 0; round < 15; round += 1) {
      const bytes = randomBytes(sizeBytes);
      const { id } = await stores[0].uploads.start(repository, signal);
      const half = sizeBytes / 2;
      await stores[0].uploads.append(repository, id, 0, Readable.from([bytes.subarray(0, half)]), signal);
      const pushed = (async () => {
        await stores[0].uploads.append(repository, id, half, Readable.from([bytes.subarray(half)]), signal);
        await stores[0].uploads.finish(repository, id, digestOf(bytes), signal);
      })();
      const aborted = sleep(round * (sizeBytes > mebibyte ? 6 : 1)).then(() => stores[1].uploads.abort(repository, id, signal));
      const [push, abort] = await codes([pushed, aborted]);
      expect([push, abort]).toContain("ok");
      if (push === "ok") expect(await readWhole(bytes)).toBe(true);
      else expect(await stores[1].blobs.stat(repository, digestOf(bytes), signal)).toBeUndefined();
      expect(["ok", "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"]).toContain(push);
      expect(["ok", "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"]).toContain(abort);
    }
    await expectOnlyLive();
  });
});
