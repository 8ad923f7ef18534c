import { randomBytes, randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Descriptor } from "../../../oci/descriptor.ts";
import type { Digest } from "../../../oci/digest.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { emptyConfig } from "../../../oci/source-manifest.ts";
import { abandonedMs } from "../../../registry/blobs/record-life.ts";
import { type Bucket, createBucket } from "../../../registry/bucket/bucket.ts";
import { formatRecord } from "../../../registry/bucket/records.ts";
import { storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { createGarbageCollector } from "../../../registry/garbage/collector.ts";
import { sweepStraysDaily } from "../../../registry/garbage/sweep-strays-daily.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";
import { type StoredImages, createStoredImages } from "./stored-images.ts";

const signal = AbortSignal.timeout(15 * 60_000);
setMaxListeners(0, signal);
const hourMs = 60 * 60_000;
const graceMs = 24 * hourMs;

describe("garbage collection", () => {
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
    repository = parseRepository(`garbage/${randomUUID()}`);
  });
  afterEach(async () => {
    await store[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  const push = (bytes: Buffer, into = repository) => images.push(into, bytes);
  const pushManifest = (tag: string, blobs: readonly Descriptor[], into = repository) => images.pushManifest(into, tag, blobs);
  const isThere = (digest: Digest, from = repository) => images.isThere(from, digest);
  /** A pass as it would be so many hours from now. */
  const pass = async (hoursFromNow: number, { dryRun = false, most = 100_000, over = bucket } = {}) => {
    const collector = createGarbageCollector({ bucket: over, mostCandidates: most });
    const policy = { graceMs, passStartedAtMs: Date.now() + hoursFromNow * hourMs, dryRun };
    const links = await collector.collectLinks(policy, undefined, () => {}, signal);
    const digests = await collector.collectDigests(policy, undefined, () => {}, signal);
    return { repositories: links.repositories, links: links.counts, blobs: digests.counts };
  };

  it("removes a blob that no manifest names, with its bytes, after a grace for each step, and keeps what a manifest names", async () => {
    const [config, layer, stray] = [await push(Buffer.from("{}")), await push(randomBytes(1000)), await push(randomBytes(500))];
    await pushManifest("v1", [config, layer]);
    expect(await pass(1)).toMatchObject({ repositories: 1, links: { condemned: 0 }, blobs: { condemned: 0 } });
    expect(await pass(25)).toMatchObject({ links: { condemned: 1, condemnedBytes: 500, removed: 0 }, blobs: { condemned: 0 } });
    expect(await isThere(stray.digest)).toBe(true);
    expect(await pass(25)).toMatchObject({ links: { condemned: 0, removed: 1 }, blobs: { condemned: 1, condemnedBytes: 500 } });
    expect(await isThere(stray.digest)).toBe(false);
    expect(await scratch.keys("bytes/")).toHaveLength(3);
    expect(await pass(25)).toMatchObject({ links: { removed: 0 }, blobs: { removed: 1, removedBytes: 500 } });
    expect(await scratch.keys("bytes/")).toHaveLength(2);
    expect(await scratch.keys("digests/")).toHaveLength(2);
    for (const { digest } of [config, layer]) expect(await isThere(digest)).toBe(true);
  });

  it("says in a dry run what a pass would do, and changes nothing", async () => {
    await push(randomBytes(700));
    const before = await scratch.keys();
    const dry = await pass(25, { dryRun: true });
    expect(dry).toMatchObject({ repositories: 1, links: { condemned: 1, condemnedBytes: 700 } });
    expect(await pass(25, { dryRun: true })).toEqual(dry);
    expect(await scratch.keys()).toEqual(before);
    expect(await pass(25)).toEqual(dry);
  });

  it("revives for a pusher what it has condemned, and serves it to readers in between", async () => {
    const stray = await push(randomBytes(10));
    await pass(25);
    expect(await isThere(stray.digest)).toBe(true);
    expect(await store.blobs.stat(repository, stray.digest, signal)).toMatchObject({ size: 10 });
    expect(await pass(25)).toMatchObject({ links: { condemned: 1, removed: 0 } });
  });

  it("keeps the bytes for another repository that has mounted them", async () => {
    const other = parseRepository(`garbage/${randomUUID()}`);
    const stray = await push(randomBytes(10));
    const config = await push(Buffer.from("{}"), other);
    await store.blobs.mount(other, stray.digest, repository, signal);
    await pushManifest("v1", [config, stray], other);
    for (let times = 0; times < 4; times += 1) await pass(25);
    expect(await isThere(stray.digest)).toBe(false);
    expect(await isThere(stray.digest, other)).toBe(true);
    expect((await pass(25)).repositories).toBe(1);
  });

  it("finds everything in rounds of two records, whichever repository and algorithm", async () => {
    const repositories = ["a", "a/b", "a-b", "a0", "b"].map((name) => parseRepository(name));
    const kept: [Repository, Digest][] = [];
    for (const into of repositories) {
      for (let count = 0; count < 3; count += 1) await push(randomBytes(16), into);
      const [config, layer] = [await push(randomBytes(16), into), await push(randomBytes(16), into)];
      await pushManifest("v1", [config, layer], into);
      kept.push([into, config.digest], [into, layer.digest]);
    }
    for (let times = 0; times < 3; times += 1) expect((await pass(25, { most: 2 })).repositories).toBe(5);
    expect(await scratch.keys("bytes/")).toHaveLength(10);
    for (const [from, digest] of kept) expect(await isThere(digest, from)).toBe(true);
  });

  it("removes the blobs of a deleted manifest and leaves an empty bucket", async () => {
    const blobs = [await push(Buffer.from("{}")), await push(randomBytes(1000))];
    const digest = await pushManifest("v1", blobs);
    await store.deletes!.manifest(repository, digest, signal);
    for (let times = 0; times < 3; times += 1) await pass(25);
    expect(await scratch.keys()).toEqual([]);
  });

  it("ends what a collector left that was killed in the middle, when it cannot be alive any more", async () => {
    const stray = await push(randomBytes(1000));
    for (let times = 0; times < 2; times += 1) await pass(25);
    let died = false;
    const dying: Bucket = { ...bucket, delete: async () => Promise.reject(new Error("killed")) };
    const policy = { graceMs, passStartedAtMs: Date.now() + 25 * hourMs, dryRun: false };
    await createGarbageCollector({ bucket: dying })
      .collectDigests(policy, undefined, () => {}, signal)
      .catch(() => (died = true));
    expect(died).toBe(true);
    const soon = { ...policy, passStartedAtMs: Date.now() + abandonedMs / 2 };
    await createGarbageCollector({ bucket }).collectDigests(soon, undefined, () => {}, signal);
    expect(await scratch.keys("bytes/")).toHaveLength(1);
    await pass(25);
    expect(await scratch.keys()).toEqual([]);
    expect(await isThere(stray.digest)).toBe(false);
  });

  it.each(["before", "after"] as const)("converges whenever it is killed, %s any of its changes", async (when) => {
    for (let change = 1; ; change += 1) {
      const into = parseRepository(`killed/${when}-${change}`);
      const kept = [await push(Buffer.from("{}"), into), await push(randomBytes(20), into)];
      await pushManifest("v1", kept, into);
      await push(randomBytes(30), into);
      let left = change;
      const kill = async <T>(act: () => Promise<T>): Promise<T> => {
        left -= 1;
        if (left === 0 && when === "before") throw new Error("killed");
        const result = await act();
        if (left <= 0) throw new Error("killed");
        return result;
      };
      const mortal: Bucket = {
        ...bucket,
        putIf: (...write) => kill(() => bucket.putIf(...write)),
        delete: (...removal) => kill(() => bucket.delete(...removal)),
      };
      for (let passes = 0; passes < 3 && left > 0; passes += 1) await pass(25, { over: mortal }).catch(() => {});
      for (let passes = 0; passes < 4; passes += 1) await pass(25);
      for (const { digest } of kept) expect(await isThere(digest, into)).toBe(true);
      expect(await scratch.keys(`repositories/killed:${when}-${change}/blobs/`)).toHaveLength(2);
      // the config is the same for all
      expect(await scratch.keys("digests/")).toHaveLength(1 + change);
      expect(await scratch.keys("bytes/")).toHaveLength(1 + change);
      // condemn, mark, delete the link; condemn, mark, delete the bytes, delete the record
      if (left > 0) return expect(change).toBe(8);
    }
  });

  it("goes on behind the repository at which it was cut off", async () => {
    for (const name of ["a", "b", "c"]) await push(randomBytes(16), parseRepository(name));
    const policy = { graceMs, passStartedAtMs: Date.now() + 25 * hourMs, dryRun: false };
    const collector = createGarbageCollector({ bucket });
    const cut = new AbortController();
    let progress: Parameters<typeof collector.collectLinks>[1];
    await collector
      .collectLinks(policy, undefined, (now) => ((progress = now), now.after === "b" && cut.abort(new Error("cut off"))), cut.signal)
      .catch(() => {});
    expect(progress).toMatchObject({ after: "b", repositories: 2, counts: { condemned: 2 } });
    expect(await collector.collectLinks(policy, progress, () => {}, signal)).toMatchObject({ repositories: 3, counts: { condemned: 3 } });
  });

  describe("of sources", () => {
    const hasList = async (digest: Digest) => (await store.manifests.resolve(repository, { kind: "digest", digest }, signal)) !== undefined;
    /** When objects were written is known to the second. */
    const nextSecond = () => sleep(1_100);

    it("removes one that nobody has pushed for two graces, then its packs; the newest stays with all of its own", async () => {
      const config = await push(emptyConfig.bytes);
      const [shared, former, newer] = [await push(randomBytes(100)), await push(randomBytes(200)), await push(randomBytes(300))];
      const old = await images.pushSource(repository, [shared, former]);
      await nextSecond();
      const newest = await images.pushSource(repository, [shared, newer]);

      expect(await pass(1)).toMatchObject({ links: { condemned: 0, removed: 0 } });
      expect(await pass(25)).toMatchObject({ links: { condemned: 1, removed: 0 } });
      expect(await hasList(old)).toBe(true);
      expect(await pass(25)).toMatchObject({ links: { condemned: 1, condemnedBytes: 200, removed: 1 } });
      expect(await hasList(old)).toBe(false);
      for (let count = 0; count < 4; count += 1) await pass(50);
      expect(await isThere(former.digest)).toBe(false);
      expect(await hasList(newest)).toBe(true);
      for (const { digest } of [config, shared, newer]) expect(await isThere(digest)).toBe(true);
      expect(await scratch.keys(storageKeys.sources(repository))).toEqual([storageKeys.source(repository, newest)]);
    });

    it("keeps one that is pushed again, by then the newest, and one that has a tag", async () => {
      await push(emptyConfig.bytes);
      const packs = [await push(randomBytes(100)), await push(randomBytes(200)), await push(randomBytes(300))];
      const again = await images.pushSource(repository, [packs[0]!]);
      const tagged = await images.pushSource(repository, [packs[1]!], "mine");
      await nextSecond();
      const newer = await images.pushSource(repository, [packs[2]!]);
      expect(await pass(25)).toMatchObject({ links: { condemned: 1 } });
      await nextSecond();
      await images.pushSource(repository, [packs[0]!]);
      for (let count = 0; count < 3; count += 1) await pass(50);
      expect([await hasList(again), await hasList(newer), await hasList(tagged)]).toEqual([true, false, true]);
      expect(await isThere(packs[0]!.digest)).toBe(true);
    });
  });

  it("leaves a record alone that it cannot read, and goes on with the others", async () => {
    const [broken] = [await push(randomBytes(10)), await push(randomBytes(10))];
    await bucket.put(storageKeys.blob(repository, broken.digest), Buffer.from("{"), signal);
    expect(await pass(25)).toMatchObject({ links: { condemned: 1, damaged: 1 } });
  });

  it("removes bytes that nothing names once a day, and none at all while a record cannot be read", async () => {
    const sound = await push(randomBytes(10));
    const strayKey = storageKeys.bytes("0".repeat(32), "1");
    await bucket.put(strayKey, Buffer.from("stray"), signal);
    const sweep = (dryRun = false) => sweepStraysDaily(bucket, { idleMs: 0, dryRun }, signal);
    const record = await bucket.get(storageKeys.digest(sound.digest), signal);
    await bucket.put(storageKeys.digest(sound.digest), Buffer.from("{"), signal);
    expect(await sweep(true)).toBe(0);
    await bucket.put(storageKeys.digest(sound.digest), record!.bytes, signal);
    expect(await sweep(true)).toBe(1);
    expect(await sweep()).toBe(1);
    expect(await scratch.keys("bytes/")).toHaveLength(1);
    await bucket.put(strayKey, Buffer.from("stray"), signal);
    expect(await sweep()).toBe(0);
    await bucket.put(storageKeys.straysSwept, formatRecord({ atMs: Date.now() - 25 * hourMs }), signal);
    expect(await sweep()).toBe(1);
  });
});
