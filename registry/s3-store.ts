import type { S3Client } from "@aws-sdk/client-s3";
import type { DistributionStore } from "../oci/store.ts";
import { createBucket } from "./bucket.ts";
import { createS3Blobs } from "./s3-blobs.ts";
import { createS3Manifests } from "./s3-manifests.ts";
import { type S3UploadOptions, createS3Uploads } from "./s3-uploads.ts";

export type S3Store = DistributionStore & AsyncDisposable;

/** The durable store: everything in one bucket (`storage-keys.ts` draws it). Disposing it ends the upload sessions of this process. */
export function openS3Store({ s3, bucket: name, ...options }: { s3: S3Client; bucket: string } & S3UploadOptions): S3Store {
  const bucket = createBucket({ s3, bucket: name });
  const blobs = createS3Blobs(bucket);
  const uploads = createS3Uploads(bucket, options);
  return { blobs, uploads, manifests: createS3Manifests(bucket, blobs), [Symbol.asyncDispose]: () => uploads.close() };
}
