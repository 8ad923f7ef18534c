import { randomBytes } from "node:crypto";
import { request as httpRequest } from "node:http";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { ListMultipartUploadsCommand, ListPartsCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { DistributionError } from "../../../oci/errors.ts";
import { parseRepository } from "../../../oci/repository.ts";
import type { DistributionStore } from "../../../oci/store.ts";
import { openS3Store } from "../../../registry/s3-store.ts";
import { createRegistryProcess } from "./registry-process.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");

describe("an upload that goes on elsewhere", () => {
  let scratch: ScratchBucket;
  beforeEach(async () => {
    scratch = await openScratchBucket();
  });
  afterEach(() => scratch[Symbol.asyncDispose]());

  const readWhole = async (store: DistributionStore, bytes: Buffer): Promise<boolean> => {
    const { body } = await store.blobs.read(repository, digestOf(bytes), undefined, signal);
    return Buffer.concat((await body.toArray()) as Buffer[]).equals(bytes);
  };
  const breakingOff = (bytes: Buffer): Readable =>
    Readable.from(
      (async function* () {
        for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
        await sleep(1);
        throw new Error("the client is gone");
      })(),
    );

  it.each([
    ["a tail", 3 * mebibyte],
    ["parts and a tail", 21 * mebibyte + 5],
    ["parts, the last of them short", 22 * mebibyte],
  ])("knows all that arrived of a client that died (%s)", async (_what, arrived) => {
    await using first = openS3Store(scratch);
    await using second = openS3Store(scratch);
    const bytes = randomBytes(arrived + 9 * mebibyte);
    const { id } = await first.uploads.start(repository, signal);
    await expect(first.uploads.append(repository, id, 0, breakingOff(bytes.subarray(0, arrived)), signal)).rejects.toThrow(
      "client is gone",
    );
    for (const { uploads } of [first, second]) {
      expect(await uploads.status(repository, id, signal)).toEqual({ id, receivedBytes: arrived });
    }
    await second.uploads.append(repository, id, arrived, Readable.from([bytes.subarray(arrived)]), signal);
    await second.uploads.finish(repository, id, digestOf(bytes), signal);
    expect(await readWhole(first, bytes)).toBe(true);
    expect(await scratch.keys("bytes/")).toHaveLength(1);
    expect([await scratch.keys("uploads/"), await scratch.multipartUploads()]).toEqual([[], 0]);
  });

  it("is refused as a whole when its bytes, received at two instances, have another digest", async () => {
    await using first = openS3Store(scratch);
    await using second = openS3Store(scratch);
    const bytes = randomBytes(20 * mebibyte);
    const { id } = await first.uploads.start(repository, signal);
    await first.uploads.append(repository, id, 0, Readable.from([bytes.subarray(0, 12 * mebibyte)]), signal);
    await second.uploads.append(repository, id, 12 * mebibyte, Readable.from([bytes.subarray(12 * mebibyte)]), signal);
    const error: unknown = await second.uploads.finish(repository, id, digestOf("other"), signal).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DistributionError);
    expect(error).toMatchObject({ code: "DIGEST_INVALID", detail: { found: digestOf(bytes) } });
    expect([await scratch.keys(), await scratch.multipartUploads()]).toEqual([[], 0]);
  });

  it("sends equal parts where S3 wants them so, however the chunks are cut", async () => {
    const partPlan = { sizes: "uniform", firstPartBytes: 5 * mebibyte } as const;
    await using first = openS3Store({ ...scratch, partPlan });
    // the plan of an upload is the one it began with
    await using second = openS3Store(scratch);
    const bytes = randomBytes(31 * mebibyte);
    const { id } = await first.uploads.start(repository, signal);
    let at = 0;
    for (const [turn, sizeBytes] of [1, 6_000_000, 5 * mebibyte, 777, 11_000_000].entries()) {
      const { uploads } = turn % 2 === 0 ? first : second;
      await uploads.append(repository, id, at, Readable.from([bytes.subarray(at, at + sizeBytes)]), signal);
      at += sizeBytes;
    }
    const [upload] = (await scratch.s3.send(new ListMultipartUploadsCommand({ Bucket: scratch.bucket }))).Uploads ?? [];
    const parts = await scratch.s3.send(new ListPartsCommand({ Bucket: scratch.bucket, Key: upload!.Key, UploadId: upload!.UploadId }));
    expect(new Set(parts.Parts?.map(({ Size }) => Size))).toEqual(new Set([5 * mebibyte]));
    await second.uploads.append(repository, id, at, Readable.from([bytes.subarray(at)]), signal);
    await first.uploads.finish(repository, id, digestOf(bytes), signal);
    expect(await readWhole(second, bytes)).toBe(true);
  });

  it("survives kill -9 of the instance that was receiving it", async () => {
    await using killed = await createRegistryProcess(scratch.bucket);
    await using other = await createRegistryProcess(scratch.bucket);
    await Promise.all([killed.start(), other.start()]);
    const bytes = randomBytes(60 * mebibyte);
    const started = await fetch(`${killed.url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
    const path = new URL(started.headers.get("location")!, killed.url).pathname;
    const sending = httpRequest(new URL(path, killed.url), { method: "PATCH", headers: { "content-length": bytes.length } });
    sending.on("error", () => {});
    sending.write(bytes.subarray(0, 20 * mebibyte));
    // the state learns of parts every 2 s
    await sleep(2_100);
    sending.write(bytes.subarray(20 * mebibyte, 40 * mebibyte));
    const standing = async (): Promise<number> => {
      const answer = await fetch(new URL(path, other.url));
      expect(answer.status).toBe(204);
      return Number(answer.headers.get("range")!.split("-")[1]) + 1;
    };
    while ((await standing()) <= 1) await sleep(50);
    await killed.stop("SIGKILL");
    const from = await standing();
    expect(from).toBeGreaterThanOrEqual(8 * mebibyte);
    const resumed = await fetch(new URL(path, other.url), {
      method: "PATCH",
      headers: { "content-range": `${from}-${bytes.length - 1}`, "content-length": String(bytes.length - from) },
      body: bytes.subarray(from),
    });
    expect(resumed.status).toBe(202);
    expect((await fetch(new URL(`${path}?digest=${digestOf(bytes)}`, other.url), { method: "PUT" })).status).toBe(201);
    await killed.start();
    const content = await fetch(`${killed.url}/v2/${repository}/blobs/${digestOf(bytes)}`);
    expect(digestOf(Buffer.from(await content.arrayBuffer()))).toBe(digestOf(bytes));
    expect([await scratch.keys("uploads/"), await scratch.multipartUploads()]).toEqual([[], 0]);
    expect(await scratch.keys("bytes/")).toHaveLength(1);
  });
});
