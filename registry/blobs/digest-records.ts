import type { Digest } from "../../oci/digest.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import type { BlobRecord } from "./record-life.ts";
import { claimRecord, establishRecord } from "./record-object.ts";

/**
 * Where the bytes of a proven digest are, whichever repository brought them: for deduplication, never for an answer to a client. What
 * is found stays for long enough to link it.
 */
export async function readDigestRecord(bucket: Bucket, digest: Digest, signal: AbortSignal): Promise<BlobRecord | undefined> {
  const claimed = await claimRecord(bucket, storageKeys.digest(digest), signal);
  return claimed?.life.state === "live" ? claimed.record : undefined;
}

/**
 * Makes proven bytes the bytes of their digest. The first one wins: the answer is what the digest means from now on.
 * @throws DistributionError UNAVAILABLE when the collector is removing that digest and does not end in time.
 */
export function publishDigest(bucket: Bucket, digest: Digest, record: BlobRecord, signal: AbortSignal): Promise<BlobRecord> {
  return establishRecord(bucket, storageKeys.digest(digest), { record, prefer: "existing" }, signal);
}
