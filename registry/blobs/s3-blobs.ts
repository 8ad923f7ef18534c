import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { BlobStore, ByteRange } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { claimLink, linkBlob, readLink } from "./links.ts";
import type { BlobRecord } from "./record-life.ts";

/** Blobs in a bucket: a small record per repository and digest says that it is there and where its bytes are. */
export function createS3Blobs(bucket: Bucket): BlobStore {
  return {
    stat: async (repository, digest, signal) => {
      const record = await claimLink(bucket, repository, digest, signal);
      return record === undefined ? undefined : describe(digest, record);
    },
    read: async (repository, digest, range, signal) => {
      const record = await readLink(bucket, repository, digest, signal);
      if (record === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
      const { key, sizeBytes } = record;
      const clipped = range === undefined ? undefined : clip(range, sizeBytes);
      const lengthBytes = clipped === undefined ? sizeBytes : clipped.last - clipped.first + 1;
      const body = await bucket.stream(key, clipped, signal, lengthBytes);
      if (body === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
      return { sizeBytes, body, ...(clipped === undefined ? {} : { range: clipped }) };
    },
    mount: async (repository, digest, from, signal) => {
      const record = await claimLink(bucket, from, digest, signal);
      if (record === undefined) return undefined;
      await linkBlob(bucket, repository, digest, record, signal);
      return describe(digest, record);
    },
  };
}

function clip({ first, last }: ByteRange, sizeBytes: number): { first: number; last: number } {
  if (first >= sizeBytes) throw new DistributionError("RANGE_INVALID", { first, sizeBytes });
  return { first, last: Math.min(last ?? sizeBytes - 1, sizeBytes - 1) };
}

function describe(digest: Digest, { sizeBytes }: BlobRecord): Descriptor {
  return { mediaType: "application/octet-stream", digest, size: sizeBytes };
}
