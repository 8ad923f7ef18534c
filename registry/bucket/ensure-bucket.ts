import { setTimeout as sleep } from "node:timers/promises";
import { CreateBucketCommand, HeadBucketCommand, type S3Client } from "@aws-sdk/client-s3";

const attemptTimeoutMs = 5_000;
const longestPauseMs = 2_000;

/**
 * Waits until S3 answers and the bucket is there, creating it when absent.
 * @throws the signal's reason, or S3's own error when it refuses us (wrong keys, a bucket of somebody else's).
 */
export async function ensureBucket(
  { s3, bucket, onRetry }: { s3: S3Client; bucket: string; onRetry?: (error: Error) => void },
  signal: AbortSignal,
): Promise<void> {
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      await createIfAbsent(s3, bucket, AbortSignal.any([signal, AbortSignal.timeout(attemptTimeoutMs)]));
      return;
    } catch (error) {
      signal.throwIfAborted();
      const status = statusOf(error);
      if (status !== undefined && status >= 400 && status < 500 && status !== 429) throw error;
      onRetry?.(error as Error);
      await sleep(pauseMs, undefined, { signal });
    }
  }
}

async function createIfAbsent(s3: S3Client, Bucket: string, abortSignal: AbortSignal): Promise<void> {
  try {
    await s3.send(new HeadBucketCommand({ Bucket }), { abortSignal });
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
    await s3.send(new CreateBucketCommand({ Bucket }), { abortSignal }).catch((failure: unknown) => {
      // another instance was quicker
      if ((failure as Error).name !== "BucketAlreadyOwnedByYou") throw failure;
    });
  }
}

function statusOf(error: unknown): number | undefined {
  return (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
}
