import { randomBytes, randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { type Bucket, createBucket } from "../../../registry/bucket/bucket.ts";
import { formatRecord } from "../../../registry/bucket/records.ts";
import { storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { addReports } from "../../../registry/scrub/report.ts";
import { scrubRepository } from "../../../registry/scrub/scrub-repository.ts";
import { type ScrubProgress, scrubBlobs, scrubRepositories } from "../../../registry/scrub/scrubber.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";
import { type StoredImages, createStoredImages } from "./stored-images.ts";

const signal = AbortSignal.timeout(15 * 60_000);
setMaxListeners(0, signal);

describe("scrub", () => {
  let scratch: ScratchBucket;
  let bucket: Bucket;
  let store: S3Store;
  let images: StoredImages;
  let repository: Repository;

  beforeEach(async () => {
    scratch = await openScratchBucket();
    bucket = createBucket(scratch);
    store = openS3Store(scratch);
    images = createStoredImages(store, signal);
    repository = parseRepository(`scrub/${randomUUID()}`);
  });
  afterEach(async () => {
    await store[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  const scrub = async (quarantine = false) => {
    const blobs = await scrubBlobs({ bucket, quarantine }, undefined, () => {}, signal);
    return addReports(blobs, await scrubRepositories({ bucket, quarantine }, undefined, () => {}, signal));
  };
  const pushImage = async (layer: Buffer, into = repository) => {
    const blobs = [await images.push(into, Buffer.from("{}")), await images.push(into, layer)];
    return images.pushManifest(into, "v1", blobs);
  };
  const keyOf = async (layer: Buffer): Promise<string> => {
    const record = await bucket.get(storageKeys.digest(digestOf(layer)), signal);
    return (JSON.parse(Buffer.from(record!.bytes).toString()) as { key: string }).key;
  };

  it("finds a bucket sound and says how much it has read", async () => {
    await pushImage(randomBytes(1000));
    expect(await scrub()).toEqual({ blobs: 2, bytes: 1002, links: 2, manifests: 1, tags: 1, damaged: 0, damages: [] });
    const keys = await scratch.keys();
    await scrub();
    expect(await scratch.keys()).toEqual(keys);
  });

  it.each([
    ["changed", (layer: Buffer) => Buffer.from(layer).fill(0, 10, 11)],
    ["cut off", (layer: Buffer) => layer.subarray(0, 500)],
  ])("reports bytes that were %s", async (_what, spoil) => {
    const layer = randomBytes(1000);
    layer[10] = 1;
    await pushImage(layer);
    const key = await keyOf(layer);
    const spoilt = spoil(layer);
    await bucket.put(key, spoilt, signal);
    const expected = [
      {
        kind: "blob bytes",
        key,
        expected: `${digestOf(layer)}, 1000 bytes`,
        found: `${digestOf(spoilt)}, ${spoilt.length} bytes`,
        quarantined: false,
      },
    ];
    expect(await scrub()).toMatchObject({ damaged: 1, damages: expected });
    expect(await scrubRepository({ bucket, quarantine: false }, { repository, withBlobs: true }, signal)).toMatchObject({
      damages: expected,
    });
  });

  it("reports bytes, records, manifests and tags that are gone or something else", async () => {
    const layer = randomBytes(1000);
    const digest = await pushImage(layer);
    const other = parseRepository(`scrub/${randomUUID()}`);
    const manifest = storageKeys.manifest(repository, digest);
    const otherDigest = await pushImage(randomBytes(10), other);
    await bucket.delete(await keyOf(layer), signal);
    await bucket.delete(storageKeys.digest(digestOf("{}")), signal);
    await bucket.put(manifest, Buffer.from("{}"), signal, mediaTypes.imageManifest);
    await bucket.put(storageKeys.blob(other, digestOf("{}")), Buffer.from("{"), signal);
    await bucket.put(
      `${storageKeys.tags(other)}v2`,
      formatRecord({ mediaType: mediaTypes.imageManifest, digest: digestOf("gone"), size: 3 }),
      signal,
    );
    const { damages, damaged } = await scrub();
    expect(damaged).toBe(damages.length);
    expect(new Set(damages.map(({ kind, key, found }) => `${kind} ${key}: ${found}`))).toEqual(
      new Set([
        expect.stringMatching(/^blob bytes bytes\/.*: nothing$/),
        expect.stringMatching(new RegExp(`^link ${storageKeys.blob(repository, digestOf("{}"))}: bytes/`)),
        `link ${storageKeys.blob(other, digestOf("{}"))}: something else`,
        `manifest ${manifest}: ${digestOf("{}")}`,
        `manifest ${storageKeys.manifest(other, otherDigest)}: MANIFEST_BLOB_UNKNOWN {"digest":"${digestOf("{}")}"}`,
        `tag ${storageKeys.tags(other)}v2: ${digestOf("gone")}, which is gone`,
      ]),
    );
  });

  it("reports a manifest that names a blob which its repository has not", async () => {
    const layer = randomBytes(100);
    const digest = await pushImage(layer);
    await store.deletes!.blob(repository, digestOf(layer), signal);
    expect((await scrub()).damages).toMatchObject([
      { kind: "manifest", key: storageKeys.manifest(repository, digest), found: expect.stringContaining(digestOf(layer)) as string },
    ]);
  });

  it("quarantines damaged bytes in every repository, and the next push of them heals all", async () => {
    const layer = randomBytes(1000);
    const other = parseRepository(`scrub/${randomUUID()}`);
    for (const into of [repository, other]) await pushImage(layer, into);
    const damagedKey = await keyOf(layer);
    await bucket.put(damagedKey, Buffer.alloc(1000), signal);
    // the manifests name what is to be pushed again
    expect((await scrub(true)).damages).toMatchObject([{ key: damagedKey, quarantined: true }, { kind: "manifest" }, { kind: "manifest" }]);
    for (const from of [repository, other]) {
      expect(await store.blobs.stat(from, digestOf(layer), signal)).toBeUndefined();
      await expect(store.blobs.read(from, digestOf(layer), undefined, signal)).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    }
    expect(await store.blobs.mount(parseRepository("scrub/third"), digestOf(layer), other, signal)).toBeUndefined();

    await images.push(repository, layer);
    expect(await keyOf(layer)).not.toBe(damagedKey);
    expect(await images.isThere(repository, digestOf(layer))).toBe(true);
    expect(await images.isThere(other, digestOf(layer))).toBe(true);
    expect(await store.blobs.stat(other, digestOf(layer), signal)).toMatchObject({ size: 1000 });
    expect((await scrub()).damaged).toBe(0);
  });

  it("ends a quarantine that broke off after its first mark", async () => {
    const layer = randomBytes(1000);
    await pushImage(layer);
    await bucket.put(await keyOf(layer), Buffer.alloc(1000), signal);
    const dying: Bucket = {
      ...bucket,
      putIf: async (condition, key, ...rest) => {
        if (key.startsWith(storageKeys.allRepositories)) throw new Error("killed");
        return bucket.putIf(condition, key, ...rest);
      },
    };
    await expect(scrubBlobs({ bucket: dying, quarantine: true }, undefined, () => {}, signal)).rejects.toThrow("killed");
    expect((await scrub(true)).damages[0]).toMatchObject({ quarantined: true });
    expect(await store.blobs.stat(repository, digestOf(layer), signal)).toBeUndefined();
    await images.push(repository, layer);
    expect((await scrub()).damaged).toBe(0);
  });

  it("goes on where it was cut off", async () => {
    for (let count = 0; count < 70; count += 1) await images.push(repository, Buffer.from(`layer ${count}`));
    const cut = new AbortController();
    let progress: ScrubProgress | undefined;
    await scrubBlobs(
      { bucket, quarantine: false },
      undefined,
      (now) => {
        progress = now;
        cut.abort(new Error("cut off"));
      },
      cut.signal,
    ).catch(() => {});
    expect(progress?.report.blobs).toBe(64);
    expect((await scrubBlobs({ bucket, quarantine: false }, progress, () => {}, signal)).blobs).toBe(70);
  });
});
