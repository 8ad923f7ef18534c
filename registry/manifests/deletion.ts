import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type Manifest, parseManifest } from "../../oci/manifest.ts";
import { referrerOf } from "../../oci/referrer.ts";
import { type Repository, isTag } from "../../oci/repository.ts";
import type { Bucket, StoredObject } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { abandonedMs, deleteTag } from "./tag-records.ts";

/** The revision differs with every mark, so that a deleter whose answer was lost knows its own. */
const deletionRecord = z.object({ atMs: z.number(), revision: z.string().optional() });

const patienceMs = 5_000;
const pollMs = 50;

/**
 * Deletes a manifest: first the tags that name it and its entry among the referrers of its subject, both found by its digest, and the
 * manifest last. A push of the same manifest meanwhile waits (`awaitDeletion`) and then finds out what of its own is gone.
 * What breaks off in the middle leaves its mark, and whoever comes two minutes later goes on.
 * @returns false when there was nothing to delete
 */
export async function deleteManifest(bucket: Bucket, repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean> {
  const key = storageKeys.manifest(repository, digest);
  if ((await bucket.head(key, signal)) === undefined) return false;
  const mark = await markDeletion(bucket, repository, digest, signal);
  const stored = await bucket.get(key, signal);
  if (stored !== undefined) {
    await deleteTags(bucket, repository, digest, signal);
    await deleteReferrer(bucket, repository, digest, stored, signal);
    await bucket.delete(key, signal);
  }
  await bucket.delete(storageKeys.deleting(repository, digest), signal, mark);
  return stored !== undefined;
}

/** Whether a deletion of the manifest is under way; one whose process died two minutes ago is not. */
export async function isBeingDeleted(bucket: Bucket, repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean> {
  const record = parseRecord(deletionRecord, await bucket.get(storageKeys.deleting(repository, digest), signal));
  return record !== undefined && record.atMs > Date.now() - abandonedMs;
}

/** @throws DistributionError UNAVAILABLE when it takes longer than a deletion does. */
export async function awaitDeletion(bucket: Bucket, repository: Repository, digest: Digest, signal: AbortSignal): Promise<void> {
  for (const untilMs = Date.now() + patienceMs; await isBeingDeleted(bucket, repository, digest, signal);) {
    if (Date.now() > untilMs)
      throw new DistributionError("UNAVAILABLE", { reason: "the manifest is being deleted", digest, retryAfterSeconds: 5 });
    await sleep(pollMs, undefined, { signal });
  }
}

/** @returns the mark as it is stored */
async function markDeletion(bucket: Bucket, repository: Repository, digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
  const key = storageKeys.deleting(repository, digest);
  const revision = randomBytes(8).toString("hex");
  for (;;) {
    const mark = formatRecord({ atMs: Date.now(), revision });
    if (await bucket.putIf({ if: "absent" }, key, mark, signal)) return mark;
    const found = await bucket.get(key, signal);
    if (found !== undefined && parseRecord(deletionRecord, found)?.revision === revision) return found.bytes;
    await awaitDeletion(bucket, repository, digest, signal);
    const abandoned = await bucket.get(key, signal);
    if (abandoned !== undefined && (await bucket.putIf({ if: "unchanged", etag: abandoned.etag }, key, mark, signal))) return mark;
  }
}

async function deleteTags(bucket: Bucket, repository: Repository, digest: Digest, signal: AbortSignal): Promise<void> {
  const prefix = storageKeys.taggedAs(repository, digest);
  for await (const { key } of bucket.walk(prefix, signal)) {
    const tag = key.slice(prefix.length);
    if (isTag(tag)) await deleteTag(bucket, repository, tag, digest, signal);
    await bucket.delete(key, signal);
  }
}

async function deleteReferrer(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  { bytes, contentType }: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  const manifest = parseStored(bytes, contentType);
  if (manifest?.subject === undefined) return;
  const { artifactType } = referrerOf(manifest, { mediaType: contentType, digest, size: bytes.length });
  await bucket.delete(storageKeys.referrer(repository, manifest.subject.digest, artifactType, digest), signal);
}

/** A damaged one can be deleted, too. */
function parseStored(bytes: Uint8Array, mediaType: string): Manifest | undefined {
  try {
    return parseManifest(bytes, mediaType);
  } catch {
    return undefined;
  }
}
