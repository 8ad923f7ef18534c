import { randomBytes, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateMultipartUploadCommand, PutObjectCommand, UploadPartCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createBucket } from "../../../registry/bucket/bucket.ts";
import { storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { sweepStrayBytes } from "../../../registry/uploads/sweep-stray-bytes.ts";
import { createRegistryProcess, openS3Detour } from "./registry-process.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const repository = parseRepository("org/app");

describe("what uploads left in the bucket", () => {
  let scratch: ScratchBucket;
  beforeEach(async () => {
    scratch = await openScratchBucket();
  });
  afterEach(() => scratch[Symbol.asyncDispose]());

  const push = async (store: S3Store, bytes: Buffer): Promise<void> => {
    const { id } = await store.uploads.start(repository, signal);
    await store.uploads.append(repository, id, 0, Readable.from([bytes]), signal);
    await store.uploads.finish(repository, id, digestOf(bytes), signal);
  };
  const expectReadable = async (store: S3Store, bytes: Buffer): Promise<void> => {
    const { body } = await store.blobs.read(repository, digestOf(bytes), undefined, signal);
    expect(Buffer.concat((await body.toArray()) as Buffer[]).equals(bytes)).toBe(true);
  };
  const put = (Key: string, Body: string | Buffer) => scratch.s3.send(new PutObjectCommand({ Bucket: scratch.bucket, Key, Body }));
  /** Live blobs are one object, one digest and one link each. */
  const expectNothingBut = async (blobs: number): Promise<void> => {
    expect(await scratch.keys("bytes/")).toHaveLength(blobs);
    expect(await scratch.keys("digests/")).toHaveLength(blobs);
    expect(await scratch.keys()).toHaveLength(3 * blobs);
    expect(await scratch.multipartUploads()).toBe(0);
  };

  it("goes also when the state of one upload cannot be read, which stays with its bytes", async () => {
    await using store = openS3Store({ ...scratch, idleMs: 0 });
    const [damaged, other] = [await store.uploads.start(repository, signal), await store.uploads.start(repository, signal)];
    await store.uploads.append(repository, damaged.id, 0, Readable.from([randomBytes(17 * mebibyte)]), signal);
    await store.uploads.append(repository, other.id, 0, Readable.from([randomBytes(17 * mebibyte)]), signal);
    await put(storageKeys.upload(damaged.id), "{");
    await sleep(1_100);

    await store.sweep(signal);
    expect(await scratch.keys("uploads/")).toEqual([storageKeys.upload(damaged.id)]);
    expect(await scratch.multipartUploads()).toBe(1);
  });

  it("goes by its age after kill -9 of an instance, and what is live stays", async () => {
    await using registry = await createRegistryProcess(scratch.bucket);
    await registry.start();
    await using store = openS3Store({ ...scratch, idleMs: 3_000 });
    const live = [randomBytes(9 * mebibyte), randomBytes(1000)];
    for (const bytes of live) await push(store, bytes);
    for (const sizeBytes of [1000, 10 * mebibyte, 17 * mebibyte]) {
      const started = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
      const body = new ReadableStream({ start: (controller) => controller.enqueue(randomBytes(sizeBytes)) });
      const target = new URL(started.headers.get("location")!, registry.url);
      void fetch(target, { method: "PATCH", body, duplex: "half" }).catch(() => {});
    }
    while ((await scratch.multipartUploads()) < 2) await sleep(50);
    await registry.stop("SIGKILL");

    await store.sweep(signal);
    expect(await scratch.keys("uploads/")).toHaveLength(3);
    await sleep(3_100);
    const running = await store.uploads.start(repository, signal);
    await store.sweep(signal);
    expect(await scratch.keys("uploads/")).toEqual([storageKeys.upload(running.id)]);
    await store.uploads.abort(repository, running.id, signal);
    await expectNothingBut(2);
    for (const bytes of live) await expectReadable(store, bytes);
  });

  it.each([
    ["small", 1000],
    ["in parts", 12 * mebibyte],
  ])("is finished by another instance or swept when its own died before the digest was there (%s)", async (_kind, sizeBytes) => {
    await using detour = await openS3Detour();
    await using registry = await createRegistryProcess(scratch.bucket, detour.endpoint);
    await registry.start();
    const start = async (bytes: Buffer): Promise<string> => {
      const started = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
      const path = new URL(started.headers.get("location")!, registry.url).pathname;
      await fetch(new URL(path, registry.url), { method: "PATCH", body: new Uint8Array(bytes) });
      const held = detour.holdNext("/digests/");
      void fetch(new URL(`${path}?digest=${digestOf(bytes)}`, registry.url), { method: "PUT" }).catch(() => {});
      await held;
      await registry.stop("SIGKILL");
      return path.split("/").at(-1)!;
    };
    const [resumed, lost] = [randomBytes(sizeBytes), randomBytes(sizeBytes)];
    const id = await start(resumed);
    // one that has so little time would not begin to name the bytes late
    await using other = openS3Store({ ...scratch });
    await other.uploads.finish(repository, id, digestOf(resumed), signal);
    await using store = openS3Store({ ...scratch, idleMs: 1_000 });
    await registry.start();
    await start(lost);
    await sleep(1_100);
    await store.sweep(signal);
    await expectNothingBut(1);
    await expectReadable(store, resumed);
    await push(store, lost);
    await expectReadable(store, lost);
  });

  it("keeps bytes that a digest names, though their upload was never removed", async () => {
    await using detour = await openS3Detour();
    await using registry = await createRegistryProcess(scratch.bucket, detour.endpoint);
    await registry.start();
    const bytes = randomBytes(1000);
    const held = detour.holdNext("/repositories/");
    void fetch(`${registry.url}/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`, {
      method: "POST",
      body: new Uint8Array(bytes),
    }).catch(() => {});
    await held;
    const stored = await scratch.keys("bytes/");
    await registry.stop("SIGKILL");
    await using sweeping = openS3Store({ ...scratch, idleMs: 0 });
    await sweeping.sweep(signal);
    expect(await scratch.keys("uploads/")).toEqual([]);
    await using store = openS3Store(scratch);
    await push(store, bytes);
    expect(await scratch.keys("bytes/")).toEqual(stored);
    await expectReadable(store, bytes);
  });

  it("is removed once by many sweeps at a time, beside uploads that go on", async () => {
    const idleMs = 1_500;
    const stores = [1, 2, 3].map(() => openS3Store({ ...scratch, idleMs }));
    const [first] = stores;
    for (let count = 0; count < 20; count += 1) {
      const { id } = await first!.uploads.start(repository, signal);
      await first!.uploads.append(repository, id, 0, Readable.from([randomBytes(100)]), signal);
    }
    await sleep(idleMs + 100);
    const going = randomBytes(30 * mebibyte);
    const slowly = Readable.from(
      (async function* () {
        for (let at = 0; at < going.length; at += mebibyte) {
          yield going.subarray(at, at + mebibyte);
          await sleep(10);
        }
      })(),
    );
    const { id } = await first!.uploads.start(repository, signal);
    const appended = first!.uploads.append(repository, id, 0, slowly, signal);
    await Promise.all(stores.map((store) => store.sweep(signal)));
    expect(await scratch.keys("uploads/")).toHaveLength(1);
    await appended;
    await first!.uploads.finish(repository, id, digestOf(going), signal);
    await expectReadable(first!, going);
    await expectNothingBut(1);
  });

  it("goes by the page: more than S3 lists at once", async () => {
    await using store = openS3Store({ ...scratch, idleMs: 0 });
    for (let at = 0; at < 1010; at += 101) {
      await Promise.all(Array.from({ length: 101 }, () => store.uploads.start(repository, signal)));
    }
    expect(await scratch.keys("uploads/")).toHaveLength(1000);
    await store.sweep(signal);
    expect(await scratch.keys()).toEqual([]);
  });

  it("includes multipart uploads that no upload names, and not the one that its upload does", async () => {
    await using store = openS3Store({ ...scratch, idleMs: 0 });
    const { id } = await store.uploads.start(repository, signal);
    const Key = storageKeys.bytes(id, "00");
    const { UploadId } = await scratch.s3.send(new CreateMultipartUploadCommand({ Bucket: scratch.bucket, Key }));
    await scratch.s3.send(
      new UploadPartCommand({ Bucket: scratch.bucket, Key, UploadId, PartNumber: 1, Body: Buffer.alloc(5 * mebibyte) }),
    );
    await scratch.s3.send(new CreateMultipartUploadCommand({ Bucket: scratch.bucket, Key: "bytes/former.1.5000/ab/abc" }));
    await using patient = openS3Store({ ...scratch, idleMs: 60_000 });
    await patient.sweep(signal);
    expect(await scratch.multipartUploads()).toBe(2);
    await store.sweep(signal);
    expect(await scratch.multipartUploads()).toBe(0);
  });

  it("includes what the layout before this one left, except for bytes that a digest names", async () => {
    const [live, lost] = [Buffer.from("live"), Buffer.from("lost")];
    const [liveKey, lostKey] = ["bytes/host.1.5000/aa/aa11", "bytes/host.1.5000/bb/bb22"];
    await put(liveKey, live);
    await put(lostKey, lost);
    await put("unlinked/host.1.5000/aa11", JSON.stringify({ digest: digestOf(live) }));
    await put("unlinked/host.1.5000/bb22", JSON.stringify({ digest: digestOf(lost) }));
    await put("uploads/host.1.5000/cc33", "a tail");
    const record = JSON.stringify({ key: liveKey, sizeBytes: live.length });
    await put(storageKeys.digest(digestOf(live)), record);
    await put(storageKeys.blob(repository, digestOf(live)), record);
    await using sweeping = openS3Store({ ...scratch, idleMs: 0 });
    await sweeping.sweep(signal);
    await expectNothingBut(1);
    await using store = openS3Store(scratch);
    await expectReadable(store, live);
    // its bytes are found again when somebody else pushes them
    await push(store, live);
    await expectNothingBut(1);
  });

  it("includes bytes that S3 stored for nobody", async () => {
    await using store = openS3Store(scratch);
    const live = [randomBytes(1000), randomBytes(9 * mebibyte)];
    for (const bytes of live) await push(store, bytes);
    const open = await store.uploads.start(repository, signal);
    await store.uploads.append(repository, open.id, 0, Readable.from([randomBytes(500)]), signal);
    const stray = storageKeys.bytes(randomUUID().replaceAll("-", ""), "00");
    await put(stray, "stray");
    const bucket = createBucket(scratch);
    expect(await sweepStrayBytes(bucket, { idleMs: 60_000 }, signal)).toEqual([]);
    expect(await sweepStrayBytes(bucket, { idleMs: 0, dryRun: true }, signal)).toEqual([stray]);
    expect(await sweepStrayBytes(bucket, { idleMs: 0 }, signal)).toEqual([stray]);
    await store.uploads.abort(repository, open.id, signal);
    await expectNothingBut(2);
    for (const bytes of live) await expectReadable(store, bytes);
  });
});
