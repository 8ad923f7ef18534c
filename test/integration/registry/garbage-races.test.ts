import { randomBytes, randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { Descriptor } from "../../../oci/descriptor.ts";
import type { Digest } from "../../../oci/digest.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { emptyConfig } from "../../../oci/source-manifest.ts";
import { abandonedMs } from "../../../registry/blobs/record-life.ts";
import { createS3Blobs } from "../../../registry/blobs/s3-blobs.ts";
import { type Bucket, createBucket } from "../../../registry/bucket/bucket.ts";
import { formatRecord } from "../../../registry/bucket/records.ts";
import { createS3Client } from "../../../registry/bucket/s3-client.ts";
import { storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { collectDigests } from "../../../registry/garbage/collect-digests.ts";
import { collectLinks } from "../../../registry/garbage/collect-links.ts";
import { collectSources } from "../../../registry/garbage/collect-sources.ts";
import { createS3Manifests } from "../../../registry/manifests/s3-manifests.ts";
import { createS3Uploads } from "../../../registry/uploads/s3-uploads.ts";
import { openFaultyS3 } from "./faulty-s3.ts";
import { type PausableBucket, createPausableBucket } from "./pausable-bucket.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";
import { type StoredImages, createStoredImages } from "./stored-images.ts";

const signal = AbortSignal.timeout(15 * 60_000);
setMaxListeners(0, signal);
const graceMs = 24 * 60 * 60_000;

/** docs/races.md has the same numbers. */
describe("the collector of garbage and", () => {
  let scratch: ScratchBucket;
  let bucket: Bucket;
  let repository: Repository;
  let closing: (() => Promise<void>)[];
  /** what the parties of a test see of the bucket: each can be held up on its own */
  let pusher: ReturnType<typeof openParty>;
  let collector: PausableBucket;

  beforeEach(async () => {
    scratch = await openScratchBucket();
    bucket = createBucket(scratch);
    repository = parseRepository(`races/${randomUUID()}`);
    closing = [];
    pusher = openParty();
    collector = createPausableBucket(bucket);
  });
  afterEach(async () => {
    for (const close of closing) await close();
    await scratch[Symbol.asyncDispose]();
  });

  function openParty() {
    const paused = createPausableBucket(bucket);
    const blobs = createS3Blobs(paused);
    const uploads = createS3Uploads(paused);
    closing.push(() => uploads.close());
    const { manifests, deletes } = createS3Manifests(paused, blobs);
    const images: StoredImages = createStoredImages({ blobs, uploads, manifests }, signal);
    return { paused, blobs, manifests, deletes, images };
  }
  /** Passes happen "later": each a grace after all that the others did. */
  const policy = () => ({ graceMs, passStartedAtMs: Date.now() + 2 * graceMs, dryRun: false });
  const links = (by: Bucket = collector) => collectLinks({ bucket: by, policy: policy() }, { repository }, signal);
  const digests = async (by: Bucket = collector) => (await collectDigests({ bucket: by, policy: policy() }, {}, signal)).counts;
  const linkKey = (digest: Digest, from = repository) => storageKeys.blob(from, digest);
  const isAccepted = (tag: string, blobs: readonly Descriptor[], into = repository) =>
    pusher.images.pushManifest(into, tag, blobs).then(
      () => true,
      () => false,
    );
  const expectWhole = async (blobs: readonly Descriptor[], from = repository) => {
    for (const { digest } of blobs) expect(await pusher.images.isThere(from, digest)).toBe(true);
  };
  const pushBlobs = async (into = repository) => [
    await pusher.images.push(into, Buffer.from(randomUUID())),
    await pusher.images.push(into, randomBytes(100)),
  ];

  const sources = () => collectSources({ bucket: collector, policy: policy() }, repository, signal);
  /** An older source, which the collector may take, and the newest. */
  async function pushSources() {
    await pusher.images.push(repository, emptyConfig.bytes);
    const packs = await pushBlobs();
    const old = await pusher.images.pushSource(repository, [packs[0]!]);
    await sleep(1_100); // the newest is told by whole seconds
    await pusher.images.pushSource(repository, [packs[1]!]);
    return { old, pushAgain: () => pusher.images.pushSource(repository, [packs[0]!]) };
  }
  const hasList = async (digest: Digest) => (await pusher.manifests.resolve(repository, { kind: "digest", digest }, signal)) !== undefined;

  it("15. a source that is pushed again while the collector is about to mark it as dying: the mark fails", async () => {
    const { old, pushAgain } = await pushSources();
    expect((await sources()).condemned).toBe(1);
    const hold = collector.holdBefore("putIf", storageKeys.source(repository, old));
    const removing = sources();
    await hold.reached;
    await pushAgain();
    hold.release();
    expect((await removing).removed).toBe(0);
    expect(await hasList(old)).toBe(true);
  });

  it("15. a source that is pushed again after the mark: the push waits until the list has gone, and writes it anew", async () => {
    const { old, pushAgain } = await pushSources();
    await sources();
    const hold = collector.holdBefore("delete", storageKeys.manifest(repository, old));
    const removing = sources();
    await hold.reached;
    const pushing = pushAgain();
    hold.release();
    expect((await removing).removed).toBe(1);
    await pushing;
    expect(await hasList(old)).toBe(true);
  });

  it("1. a push that read the link before it was condemned: the next pass sees its manifest", async () => {
    const blobs = await pushBlobs();
    const hold = pusher.paused.holdBefore("putIf", "/manifests/");
    const pushing = isAccepted("v1", blobs);
    await hold.reached;
    expect((await links()).condemned).toBe(2);
    hold.release();
    expect(await pushing).toBe(true);
    expect((await links()).removed).toBe(0);
    await expectWhole(blobs);
  });

  it("2. a push that revives the link while the collector is about to mark it as dying: the mark fails", async () => {
    const blobs = await pushBlobs();
    await links();
    const holds = blobs.map(({ digest }) => collector.holdBefore("putIf", linkKey(digest)));
    const removing = links();
    await Promise.all(holds.map((hold) => hold.reached));
    expect(await isAccepted("v1", blobs)).toBe(true);
    for (const hold of holds) hold.release();
    expect((await removing).removed).toBe(0);
    await expectWhole(blobs);
  });

  it("3. a push that comes after the mark: the blob counts as absent, is pushed again and waits for the old link to go", async () => {
    const bytes = randomBytes(100);
    const blob = await pusher.images.push(repository, bytes);
    await links();
    const hold = collector.holdBefore("delete", linkKey(blob.digest));
    const removing = links();
    await hold.reached;
    expect(await pusher.blobs.stat(repository, blob.digest, signal)).toBeUndefined();
    expect(await isAccepted("v1", [blob])).toBe(false);
    let isPushed = false;
    const pushing = pusher.images.push(repository, bytes).then(() => (isPushed = true));
    await sleep(300);
    expect(isPushed).toBe(false);
    hold.release();
    expect((await removing).removed).toBe(1);
    await pushing;
    expect(await isAccepted("v1", [blob])).toBe(true);
    await expectWhole([blob]);
  });

  it("4. a push that deduplicates against a condemned digest revives it before it links it", async () => {
    const bytes = randomBytes(100);
    const blob = await pusher.images.push(repository, bytes);
    await links();
    await links();
    expect((await digests()).condemned).toBe(1);
    const hold = collector.holdBefore("putIf", storageKeys.digest(blob.digest));
    const removing = digests();
    await hold.reached;
    await pusher.images.push(repository, bytes);
    hold.release();
    expect((await removing).removed).toBe(0);
    expect(await isAccepted("v1", [blob])).toBe(true);
    await expectWhole([blob]);
    expect(await scratch.keys("bytes/")).toHaveLength(1);
  });

  it("5. a mount whose link comes after the collector looked for links: it looks at the digest again and revives it", async () => {
    const other = parseRepository(`races/${randomUUID()}`);
    const blob = await pusher.images.push(repository, randomBytes(100));
    const holdLink = pusher.paused.holdBefore("putIf", linkKey(blob.digest, other));
    const mounting = pusher.blobs.mount(other, blob.digest, repository, signal);
    await holdLink.reached;
    await links();
    await links();
    expect((await digests()).condemned).toBe(1);
    const holdMark = collector.holdBefore("putIf", storageKeys.digest(blob.digest));
    const removing = digests();
    await holdMark.reached;
    holdLink.release();
    expect(await mounting).toMatchObject({ digest: blob.digest });
    holdMark.release();
    expect((await removing).removed).toBe(0);
    await expectWhole([blob], other);
  });

  it("6. a mount that sleeps through the whole removal is told so, and its link gives nothing away", async () => {
    const other = parseRepository(`races/${randomUUID()}`);
    const blob = await pusher.images.push(repository, randomBytes(100));
    const hold = pusher.paused.holdBefore("putIf", linkKey(blob.digest, other));
    const mounting = pusher.blobs.mount(other, blob.digest, repository, signal).catch((error: unknown) => error);
    await hold.reached;
    for (let pass = 0; pass < 2; pass += 1) {
      await links();
      await digests();
    }
    expect((await digests()).removed).toBe(1);
    hold.release();
    expect(await mounting).toMatchObject({ code: "UNAVAILABLE" });
    expect(await pusher.blobs.stat(other, blob.digest, signal)).toBeUndefined();
    expect(await isAccepted("v1", [blob], other)).toBe(false);
  });

  it("7. a deletion of the last manifest during the push of another one: the blobs stay for the other", async () => {
    const blobs = await pushBlobs();
    const first = await pusher.images.pushManifest(repository, "v1", blobs);
    const hold = pusher.paused.holdBefore("putIf", "/manifests/");
    const pushing = isAccepted("v2", [blobs[0]!, blobs[1]!, blobs[1]!]);
    await hold.reached;
    await openParty().deletes.manifest(repository, first, signal);
    expect((await links()).condemned).toBe(2);
    hold.release();
    expect(await pushing).toBe(true);
    expect((await links()).removed).toBe(0);
    await expectWhole(blobs);
  });

  it("8. a second collector that read the same record: its mark fails, and it deletes nothing that came since", async () => {
    const bytes = randomBytes(100);
    const blob = await pusher.images.push(repository, bytes);
    await links();
    const hold = collector.holdBefore("putIf", linkKey(blob.digest));
    const second = links();
    await hold.reached;
    expect((await links(bucket)).removed).toBe(1);
    await pusher.images.push(repository, bytes);
    hold.release();
    expect((await second).removed).toBe(0);
    await expectWhole([blob]);
  });

  it("9. a collector that died after the mark: a push is put off at first, and takes the place over later", async () => {
    const bytes = randomBytes(100);
    const blob = await pusher.images.push(repository, bytes);
    const { key, sizeBytes } = JSON.parse(Buffer.from((await bucket.get(linkKey(blob.digest), signal))!.bytes).toString()) as {
      key: string;
      sizeBytes: number;
    };
    const die = (atMs: number) => bucket.put(linkKey(blob.digest), formatRecord({ key, sizeBytes, dying: { atMs } }), signal);
    await die(Date.now());
    await expect(pusher.images.push(repository, bytes)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      detail: { retryAfterSeconds: 5 },
    });
    await die(Date.now() - abandonedMs);
    await pusher.images.push(repository, bytes);
    expect(await isAccepted("v1", [blob])).toBe(true);
    await expectWhole([blob]);
  });

  it("10. a collector that slept after its mark, until others may have taken over, deletes nothing", async () => {
    const blob = await pusher.images.push(repository, randomBytes(100));
    for (let pass = 0; pass < 2; pass += 1) await links();
    await digests();
    const hold = collector.holdBefore("delete", "bytes/");
    const removing = collectDigests({ bucket: collector, policy: policy(), removalMs: 200 }, {}, signal);
    await hold.reached;
    await sleep(300);
    hold.release();
    await expect(removing).rejects.toMatchObject({ name: "TimeoutError" });
    expect(await bucket.head(storageKeys.digest(blob.digest), signal)).toBeDefined();
  });

  it("14. a collector that does not hear that its DELETE was executed: what was pushed since stays", async () => {
    await using faulty = await openFaultyS3();
    const s3 = createS3Client({ ...inject("s3"), endpoint: faulty.endpoint, forcePathStyle: true });
    closing.push(async () => s3.destroy());
    const bytes = randomBytes(100);
    const blob = await pusher.images.push(repository, bytes);
    await links();
    const { promise: executed, resolve: execute } = Promise.withResolvers<void>();
    const { promise: pushed, resolve: goOn } = Promise.withResolvers<void>();
    let isLost = false;
    faulty.decide = ({ method }) => {
      if (isLost) {
        execute();
        return pushed;
      }
      isLost = method === "DELETE";
      return isLost ? "lose-reply" : "pass";
    };
    const removing = links(createBucket({ s3, bucket: scratch.bucket }));
    await executed;
    await pusher.images.push(repository, bytes);
    goOn();
    expect((await removing).removed).toBe(1);
    expect(await isAccepted("v1", [blob])).toBe(true);
    await expectWhole([blob]);
  });
});
