import type { S3Client } from "@aws-sdk/client-s3";
import type { DistributionStore } from "../oci/store.ts";
import { createS3Blobs } from "./blobs/s3-blobs.ts";
import { unlinkBlob } from "./blobs/unlink-blob.ts";
import { createBucket } from "./bucket/bucket.ts";
import { createS3Manifests } from "./manifests/s3-manifests.ts";
import { type S3Uploads, createS3Uploads } from "./uploads/s3-uploads.ts";
import { sweepUploads } from "./uploads/sweep-uploads.ts";
import { type S3UploadOptions, uploadDefaults } from "./uploads/upload-options.ts";

export type S3Store = DistributionStore &
  AsyncDisposable & {
    readonly partMemory: S3Uploads["partMemory"];
    /** Removes uploads that were left behind. Safe beside running instances and other sweeps. */
    sweep(signal: AbortSignal): Promise<void>;
  };

/** The durable store: everything in one bucket (`storage-keys.ts` draws it). Disposing it waits for the uploads that come in. */
export function openS3Store({ s3, bucket: name, ...options }: { s3: S3Client; bucket: string } & S3UploadOptions): S3Store {
  const bucket = createBucket({ s3, bucket: name });
  const blobs = createS3Blobs(bucket);
  const uploads = createS3Uploads(bucket, options);
  const { idleMs = uploadDefaults.idleMs } = options;
  const { manifests, referrers, deletes } = createS3Manifests(bucket, blobs);
  return {
    blobs,
    uploads,
    partMemory: uploads.partMemory,
    manifests,
    referrers,
    deletes: { ...deletes, blob: (repository, digest, signal) => unlinkBlob(bucket, blobs, repository, digest, signal) },
    sweep: (signal) => sweepUploads(bucket, { idleMs }, signal),
    [Symbol.asyncDispose]: () => uploads.close(),
  };
}
