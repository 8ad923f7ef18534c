import { z } from "zod";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobStore, ByteRange } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

/** Where the bytes of a digest are. */
export type BlobRecord = { readonly key: string; readonly sizeBytes: number };

const blobRecord = z.object({ key: z.string(), sizeBytes: z.number().int().nonnegative() });

/** Blobs in a bucket: a small record per repository and digest says that it is there and where its bytes are. */
export function createS3Blobs(bucket: Bucket): BlobStore {
  return {
    stat: async (repository, digest, signal) => {
      const record = await readLink(bucket, repository, digest, signal);
      return record === undefined ? undefined : describe(digest, record);
    },
    read: async (repository, digest, range, signal) => {
      const record = await readLink(bucket, repository, digest, signal);
      if (record === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
      const { key, sizeBytes } = record;
      const clipped = range === undefined ? undefined : clip(range, sizeBytes);
      const body = await bucket.stream(key, clipped, signal);
      if (body === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
      return { sizeBytes, body, ...(clipped === undefined ? {} : { range: clipped }) };
    },
    mount: async (repository, digest, from, signal) => {
      const record = await readLink(bucket, from, digest, signal);
      if (record === undefined) return undefined;
      await linkBlob(bucket, repository, digest, record, signal);
      return describe(digest, record);
    },
  };
}

/** Where the bytes of a proven digest are, whichever repository brought them: for deduplication, never for an answer to a client. */
export async function readDigestRecord(bucket: Bucket, digest: Digest, signal: AbortSignal): Promise<BlobRecord | undefined> {
  return parseRecord(blobRecord, await bucket.get(storageKeys.digest(digest), signal));
}

/** Makes proven bytes the bytes of their digest. The first one wins: the answer is what the digest means from now on. */
export async function publishDigest(bucket: Bucket, digest: Digest, record: BlobRecord, signal: AbortSignal): Promise<BlobRecord> {
  const isFirst = await bucket.putIf({ if: "absent" }, storageKeys.digest(digest), formatRecord(record), signal);
  if (isFirst) return record;
  return (await readDigestRecord(bucket, digest, signal)) ?? record;
}

/** Makes a blob part of a repository. */
export async function linkBlob(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  record: BlobRecord,
  signal: AbortSignal,
): Promise<void> {
  await bucket.put(storageKeys.blob(repository, digest), formatRecord(record), signal);
}

async function readLink(bucket: Bucket, repository: Repository, digest: Digest, signal: AbortSignal): Promise<BlobRecord | undefined> {
  return parseRecord(blobRecord, await bucket.get(storageKeys.blob(repository, digest), signal));
}

function clip({ first, last }: ByteRange, sizeBytes: number): { first: number; last: number } {
  if (first >= sizeBytes) throw new DistributionError("RANGE_INVALID", { first, sizeBytes });
  return { first, last: Math.min(last ?? sizeBytes - 1, sizeBytes - 1) };
}

function describe(digest: Digest, { sizeBytes }: BlobRecord): Descriptor {
  return { mediaType: "application/octet-stream", digest, size: sizeBytes };
}
