import { randomBytes, randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Descriptor } from "../../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { DistributionError } from "../../../oci/errors.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { type Bucket, createBucket } from "../../../registry/bucket/bucket.ts";
import { digestOfKey, storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { createGarbageCollector } from "../../../registry/garbage/collector.ts";
import type { GarbagePolicy } from "../../../registry/garbage/policy.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { sweepStrayBytes } from "../../../registry/uploads/sweep-stray-bytes.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";
import { createStoredImages } from "./stored-images.ts";

const signal = AbortSignal.timeout(10 * 60_000);
setMaxListeners(0, signal);

/** Longer than a manifest takes to be written here; what took longer proves nothing (docs/races.md, "What it rests on"). */
const graceMs = 2_000;
const stormMs = 15_000;
/** a busy machine gets longer, until all of these have happened */
const longestStormMs = 90_000;
const wanted = ["accepted", "deleted", "found", "mounted", "pushed", "links condemned", "links removed", "digests removed"];
const writers = 4;

type Accepted = { readonly repository: Repository; readonly digest: Digest; readonly blobs: readonly Descriptor[] };

type Storm = { readonly accepted: Set<Accepted>; readonly missing: string[]; readonly tally: Map<string, number> };

let scratch: ScratchBucket;
let bucket: Bucket;
let stores: S3Store[];

beforeEach(async () => {
  scratch = await openScratchBucket();
  bucket = createBucket(scratch);
  stores = [openS3Store(scratch), openS3Store(scratch)];
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store[Symbol.asyncDispose]()));
  await scratch[Symbol.asyncDispose]();
});

const repositories = ["storm/a", "storm/b", "storm/c"].map((name) => parseRepository(name));
const layers = Array.from({ length: 16 }, (_, seed) => Buffer.alloc(200, `layer ${seed}`));
const oneOf = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)]!;

async function missingOf(store: S3Store, { repository, digest, blobs }: Accepted): Promise<string[]> {
  const images = createStoredImages(store, signal);
  const missing = [];
  for (const blob of blobs) {
    if (!(await images.isThere(repository, blob.digest))) missing.push(`${blob.digest} of ${repository}@${digest}`);
  }
  return missing;
}

/** Pushes, mounts and deletes; what of it was accepted, and by the rules must be whole, stays in `accepted`. */
async function write(store: S3Store, { accepted, missing, tally }: Storm, isOver: () => boolean): Promise<void> {
  const images = createStoredImages(store, signal);
  const count = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
  const bring = async (into: Repository, layer: Buffer): Promise<Descriptor> => {
    const digest = digestOf(layer);
    const found = await store.blobs.stat(into, digest, signal);
    if (found !== undefined) return (count("found"), found);
    const mounted = await store.blobs.mount(into, digest, oneOf(repositories), signal);
    if (mounted !== undefined) return (count("mounted"), mounted);
    count("pushed");
    return images.push(into, layer);
  };
  const mine: Accepted[] = [];
  while (!isOver()) {
    const repository = oneOf(repositories);
    try {
      const blobs = [
        await images.push(repository, Buffer.from(randomUUID())),
        await bring(repository, oneOf(layers)),
        await bring(repository, oneOf(layers)),
      ];
      // longer than a pass takes: what was found here may be condemned by the time that the manifest comes
      await sleep(Math.random() * graceMs);
      const startedMs = Date.now();
      const digest = await images.pushManifest(repository, `t${randomBytes(4).toString("hex")}`, blobs);
      count("accepted");
      const image = { repository, digest, blobs };
      mine.push(image);
      if (Date.now() - startedMs < graceMs) accepted.add(image);
      else count("too slow to prove anything");
    } catch (error) {
      if (!(error instanceof DistributionError)) throw error;
      count(error.code);
    }
    if (mine.length > 1) {
      const image = mine.shift()!;
      if (accepted.delete(image)) missing.push(...(await missingOf(store, image)));
      await store.deletes!.manifest(image.repository, image.digest, signal);
      count("deleted");
    }
  }
}

async function collect(isOver: () => boolean, tally: Map<string, number>): Promise<void> {
  // a collector that hesitates before each mark, so that what it has seen is often no longer so
  const hesitant: Bucket = {
    ...bucket,
    putIf: async (...write) => {
      await sleep(Math.random() * 600);
      return bucket.putIf(...write);
    },
  };
  const collector = createGarbageCollector({ bucket: hesitant, mostCandidates: 5 });
  while (!isOver()) {
    const { links, blobs } = await pass(collector, { graceMs, passStartedAtMs: Date.now(), dryRun: false });
    for (const [what, counts] of [["links", links] as const, ["digests", blobs] as const]) {
      for (const step of ["condemned", "removed"] as const) {
        tally.set(`${what} ${step}`, (tally.get(`${what} ${step}`) ?? 0) + counts[step]);
      }
    }
  }
}

async function pass(collector: ReturnType<typeof createGarbageCollector>, policy: GarbagePolicy) {
  const { counts: links } = await collector.collectLinks(policy, undefined, () => {}, signal);
  const { counts: blobs } = await collector.collectDigests(policy, undefined, () => {}, signal);
  return { links, blobs };
}

it("passes of two collectors without a pause take nothing from pushes, mounts and deletions of four writers at two instances", async () => {
  const storm: Storm = { accepted: new Set(), missing: [], tally: new Map() };
  const { accepted, missing, tally } = storm;
  const startedMs = Date.now();
  const isOver = () => {
    const lastedMs = Date.now() - startedMs;
    return lastedMs > longestStormMs || (lastedMs > stormMs && wanted.every((what) => (tally.get(what) ?? 0) > 0));
  };
  await Promise.all([
    ...Array.from({ length: writers }, (_, n) => write(stores[n % stores.length]!, storm, isOver)),
    collect(isOver, tally),
    collect(isOver, tally),
  ]);

  for (const image of accepted) missing.push(...(await missingOf(stores[0]!, image)));
  expect(missing).toEqual([]);
  expect(wanted.filter((what) => (tally.get(what) ?? 0) === 0)).toEqual([]);
  expect(accepted.size).toBeGreaterThan(0);

  await leaveQuiet();
  await expectNothingUnreferenced();
});

/** As it will be some hours later. */
async function leaveQuiet(): Promise<void> {
  const collector = createGarbageCollector({ bucket });
  for (let hours = 1; hours <= 3; hours += 1) {
    await pass(collector, { graceMs, passStartedAtMs: Date.now() + hours * 60 * 60_000, dryRun: false });
  }
  await sweepStrayBytes(bucket, { idleMs: 0 }, signal);
}

async function expectNothingUnreferenced(): Promise<void> {
  const keys = async (prefix: string) => (await bucket.list(prefix, {}, signal)).toSorted();
  const linked = new Set<string>();
  for (const repository of repositories) {
    const named = new Set<string>();
    for (const key of await keys(storageKeys.manifests(repository))) {
      const text = Buffer.from((await bucket.get(key, signal))!.bytes).toString();
      for (const digest of text.match(/sha256:[0-9a-f]{64}/g) ?? []) named.add(digest);
    }
    expect((await keys(storageKeys.blobs(repository))).map(digestOfKey)).toEqual([...named].toSorted());
    for (const digest of named) linked.add(digest);
  }
  const digests = await keys(storageKeys.allDigests);
  expect(digests.map(digestOfKey)).toEqual([...linked].toSorted());
  const named = await Promise.all(
    digests.map(async (key) => (JSON.parse(Buffer.from((await bucket.get(key, signal))!.bytes).toString()) as { key: string }).key),
  );
  expect(await keys(storageKeys.allBytes)).toEqual(named.toSorted());
}
