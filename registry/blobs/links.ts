import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { readDigestRecord } from "./digest-records.ts";
import type { BlobRecord } from "./record-life.ts";
import { claimRecord, establishRecord, markRecord, readRecordObject } from "./record-object.ts";

const mostMoves = 3;

/** What a reader may be given. Changes nothing: a condemned blob is still served. */
export async function readLink(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<BlobRecord | undefined> {
  const found = await readRecordObject(bucket, storageKeys.blob(repository, digest), signal);
  switch (found?.life.state) {
    case "live":
    case "condemned":
      return found.record;
    case "quarantined":
      return readReplacement(bucket, digest, found.record, signal);
    default:
      return undefined;
  }
}

/** What a pusher may rely on: a condemned link is revived first. */
export async function claimLink(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<BlobRecord | undefined> {
  const claimed = await claimRecord(bucket, storageKeys.blob(repository, digest), signal);
  if (claimed?.life.state === "live") return claimed.record;
  if (claimed?.life.state !== "quarantined") return undefined;
  const replacement = await readReplacement(bucket, digest, claimed.record, signal);
  if (replacement !== undefined) await linkBlob(bucket, repository, digest, replacement, signal);
  return replacement;
}

/**
 * Makes a blob part of a repository. Looks at the digest again once the link is there: whatever removes a digest has either seen the
 * link, or is seen here.
 * @throws DistributionError UNAVAILABLE when the digest was removed since it was read; the client then pushes again.
 */
export async function linkBlob(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  record: BlobRecord,
  signal: AbortSignal,
): Promise<void> {
  const key = storageKeys.blob(repository, digest);
  let wanted = record;
  for (let move = 1; move <= mostMoves; move += 1) {
    await establishRecord(bucket, key, { record: wanted, prefer: "given" }, signal);
    const current = await readDigestRecord(bucket, digest, signal);
    if (current === undefined) break;
    if (current.key === wanted.key) return;
    wanted = current;
  }
  await withdrawLink(bucket, key, wanted, signal);
  throw new DistributionError("UNAVAILABLE", { reason: "the blob was removed while it was linked", digest, retryAfterSeconds: 1 });
}

/** Marked rather than deleted: somebody else may have linked other bytes in the meantime. */
async function withdrawLink(bucket: Bucket, key: string, record: BlobRecord, signal: AbortSignal): Promise<void> {
  const found = await readRecordObject(bucket, key, signal);
  if (found?.record.key !== record.key) return;
  await markRecord(bucket, key, found, { state: "quarantined", atMs: Date.now() }, signal);
}

/** Damaged bytes were pushed again, to whichever repository. */
async function readReplacement(bucket: Bucket, digest: Digest, damaged: BlobRecord, signal: AbortSignal): Promise<BlobRecord | undefined> {
  const current = await readDigestRecord(bucket, digest, signal);
  return current?.key === damaged.key ? undefined : current;
}
