import { randomUUID } from "node:crypto";
import {
  DeleteBucketCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type S3Client,
} from "@aws-sdk/client-s3";
import { inject } from "vitest";
import { ensureBucket } from "../../../registry/bucket/ensure-bucket.ts";
import { createS3Client } from "../../../registry/bucket/s3-client.ts";

export type ScratchBucket = {
  readonly s3: S3Client;
  readonly bucket: string;
  keys(prefix?: string): Promise<string[]>;
  multipartUploads(): Promise<number>;
  remove(key: string): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A bucket of one test on the S3 server of the run; it goes with all that is in it. */
export async function openScratchBucket(): Promise<ScratchBucket> {
  const s3 = createS3Client({ ...inject("s3"), forcePathStyle: true });
  const bucket = `test-${randomUUID()}`;
  await ensureBucket({ s3, bucket }, AbortSignal.timeout(20_000));
  const keys = async (Prefix = "") => {
    const page = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix }));
    return (page.Contents ?? []).map(({ Key }) => Key!);
  };
  return {
    s3,
    bucket,
    keys,
    multipartUploads: async () => (await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.length ?? 0,
    remove: async (Key) => void (await s3.send(new DeleteObjectCommand({ Bucket: bucket, Key }))),
    [Symbol.asyncDispose]: async () => {
      for (let found = await keys(); found.length > 0; found = await keys()) {
        await Promise.all(found.map((Key) => s3.send(new DeleteObjectCommand({ Bucket: bucket, Key }))));
      }
      await s3.send(new DeleteBucketCommand({ Bucket: bucket })).catch(() => {});
      s3.destroy();
    },
  };
}
