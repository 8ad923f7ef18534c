import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestOf } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type Manifest, parseManifest } from "../../oci/manifest.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import { referrerOf } from "../../oci/referrer.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import type { WrittenManifest } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { isSourceManifest } from "../../oci/source-manifest.ts";
import { claimSource } from "./claim-source.ts";
import { awaitDeletion, isBeingDeleted } from "./deletion.ts";
import { storeManifest } from "./manifest-content.ts";
import { writeReferrer } from "./referrers.ts";
import { type ChildSources, requireChildren } from "./require-children.ts";
import { type TagRule, moveTag, readTag } from "./tag-records.ts";

export type ManifestPush = {
  readonly repository: Repository;
  readonly reference: ManifestReference;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly tags: readonly Tag[];
  /** for the tag of the reference */
  readonly mayReplace?: TagRule;
};

/** a push that meets this many deletions of the same manifest in a row loses */
const mostAttempts = 5;

/** Stores a manifest whose children are all here, and makes it known: to the referrers of its subject first, to its tags last. */
export async function writeManifest(sources: ChildSources, push: ManifestPush, signal: AbortSignal): Promise<WrittenManifest> {
  const { repository, reference, mediaType, bytes, mayReplace } = push;
  const descriptor: Descriptor = { mediaType, digest: digestFor(reference, bytes), size: bytes.length };
  const manifest = parseManifest(bytes, mediaType);
  const tags = reference.kind === "tag" ? [reference.tag] : push.tags;
  if (mayReplace !== undefined) await requireReplaceable(sources.bucket, repository, tags, mayReplace, signal);
  await requireChildren(sources, repository, manifest, signal);
  if (isSourceManifest(manifest)) await claimSource(sources.bucket, repository, descriptor, signal);
  for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
    // once moved, the tag names this manifest, which the rule may not know
    const rule = attempt === 1 && mayReplace !== undefined ? { mayReplace } : {};
    await makeKnown(sources.bucket, repository, { manifest, descriptor, bytes, tags, ...rule }, signal);
    if (await isWhole(sources.bucket, repository, descriptor.digest, tags, signal)) {
      return { ...descriptor, tags, ...(manifest.subject === undefined ? {} : { subject: manifest.subject.digest }) };
    }
    await awaitDeletion(sources.bucket, repository, descriptor.digest, signal);
  }
  throw new DistributionError("UNAVAILABLE", { reason: "the manifest is deleted over and over", digest: descriptor.digest });
}

type KnownManifest = {
  readonly manifest: Manifest;
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  readonly tags: readonly Tag[];
  readonly mayReplace?: TagRule;
};

/** Looks before anything is stored; what happens later, moving the tag finds out. */
async function requireReplaceable(
  bucket: Bucket,
  repository: Repository,
  tags: readonly Tag[],
  mayReplace: TagRule,
  signal: AbortSignal,
): Promise<void> {
  for (const tag of tags) {
    const found = (await readTag(bucket, repository, tag, signal))?.digest;
    if (!mayReplace(found)) throw new DistributionError("PRECONDITION_FAILED", { tag, found: found ?? "no such tag" });
  }
}

async function makeKnown(
  bucket: Bucket,
  repository: Repository,
  { manifest, descriptor, bytes, tags, mayReplace }: KnownManifest,
  signal: AbortSignal,
): Promise<void> {
  const { digest } = descriptor;
  await storeManifest(bucket, repository, descriptor, bytes, signal);
  // what a deletion looks for must be there before what it is to delete
  await Promise.all([
    ...(manifest.subject === undefined
      ? []
      : [writeReferrer(bucket, repository, manifest.subject.digest, referrerOf(manifest, descriptor), signal)]),
    ...tags.map((tag) => bucket.put(`${storageKeys.taggedAs(repository, digest)}${tag}`, formatRecord({}), signal)),
  ]);
  await Promise.all(tags.map((tag) => moveTag(bucket, repository, tag, descriptor, mayReplace, signal)));
}

/**
 * Whether no deletion took any of it. One that begins after the first look here comes after this push, and deletes all of it; one that
 * was over before has deleted the manifest itself, as its last step, or was over before this push began.
 */
async function isWhole(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  tags: readonly Tag[],
  signal: AbortSignal,
): Promise<boolean> {
  if (await isBeingDeleted(bucket, repository, digest, signal)) return false;
  const keys = [storageKeys.manifest(repository, digest), ...tags.map((tag) => storageKeys.tag(repository, tag))];
  const found = await Promise.all(keys.map((key) => bucket.head(key, signal)));
  return found.every((object) => object !== undefined);
}

function digestFor(reference: ManifestReference, bytes: Uint8Array): Digest {
  if (reference.kind === "tag") return digestOf(bytes);
  const found = digestOf(bytes, digestAlgorithm(reference.digest));
  if (found !== reference.digest) throw new DistributionError("DIGEST_INVALID", { expected: reference.digest, found });
  return found;
}
