import { randomUUID } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";
import type { DistributionStore } from "../oci/store.ts";
import { createBucket } from "./bucket/bucket.ts";
import { createOpenIds } from "./uploads/open-ids.ts";
import { createS3Blobs } from "./blobs/s3-blobs.ts";
import { createS3Manifests } from "./manifests/s3-manifests.ts";
import { type S3UploadOptions, createS3Uploads } from "./uploads/s3-uploads.ts";
import { sweepLeftovers } from "./uploads/sweep-leftovers.ts";

export type S3Store = DistributionStore &
  AsyncDisposable & {
    /** Removes what uploads left in the bucket (`sweep-leftovers.ts`). Only while no other process writes under the same name. */
    sweep(signal: AbortSignal): Promise<void>;
  };

export type S3StoreOptions = S3UploadOptions & {
  /** the name under which this process writes, the same after every start; default: one that no other life has */
  readonly writer?: string;
  /** what other instances left behind goes at this age; default: 24 h */
  readonly strangersAgeMs?: number;
};

/** longer than a process takes to end, and than S3 takes for a request that it has */
const graceMs = 6_000;

/** The durable store: everything in one bucket (`storage-keys.ts` draws it). Disposing it ends the upload sessions of this process. */
export function openS3Store({
  s3,
  bucket: name,
  writer = randomUUID(),
  strangersAgeMs = 24 * 60 * 60 * 1000,
  ...options
}: { s3: S3Client; bucket: string } & S3StoreOptions): S3Store {
  const bucket = createBucket({ s3, bucket: name });
  const blobs = createS3Blobs(bucket);
  const openIds = createOpenIds({ graceMs });
  const uploads = createS3Uploads({ bucket, writer, openIds }, options);
  return {
    blobs,
    uploads,
    manifests: createS3Manifests(bucket, blobs),
    sweep: (signal) => sweepLeftovers({ bucket, writer, openIds, graceMs, strangersAgeMs }, signal),
    [Symbol.asyncDispose]: () => uploads.close(),
  };
}
