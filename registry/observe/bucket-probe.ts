import { HeadBucketCommand, HeadObjectCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { isAbsent, isPreconditionFailed } from "../bucket/s3-errors.ts";

export type BucketProbeOptions = { readonly s3: S3Client; readonly bucket: string; readonly probeKey: string };

/**
 * Uses S3 as pushes and pulls do: the bucket is there, and a conditional write of a tiny object replaces what the last one left.
 * Rejects with S3's own error.
 */
export function createBucketProbe({ s3, bucket: Bucket, probeKey: Key }: BucketProbeOptions): (signal: AbortSignal) => Promise<void> {
  let etag: string | undefined;
  const write = async (abortSignal: AbortSignal): Promise<void> => {
    const condition = etag === undefined ? { IfNoneMatch: "*" } : { IfMatch: etag };
    const Body = JSON.stringify({ at: new Date().toISOString() });
    etag = (await s3.send(new PutObjectCommand({ Bucket, Key, Body, ...condition }), { abortSignal })).ETag;
  };
  const find = async (abortSignal: AbortSignal): Promise<string | undefined> => {
    try {
      return (await s3.send(new HeadObjectCommand({ Bucket, Key }), { abortSignal })).ETag;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  };
  return async (abortSignal) => {
    await s3.send(new HeadBucketCommand({ Bucket }), { abortSignal });
    try {
      await write(abortSignal);
    } catch (error) {
      if (!isPreconditionFailed(error) && !isAbsent(error)) throw error;
      // a former life of ours left it, or one that was cut off after S3 had taken it
      etag = await find(abortSignal);
      await write(abortSignal);
    }
  };
}
