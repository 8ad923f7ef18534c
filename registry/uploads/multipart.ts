import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import type { Bucket } from "../bucket/bucket.ts";
import { isAbsent, isRefusedPart, isUnanswered, toStorageError } from "../bucket/s3-errors.ts";
import type { Multipart, StoredPart } from "./upload-state.ts";

/** Opens a multipart upload to a key that nobody else writes. */
export async function createMultipart(bucket: Bucket, key: string, signal: AbortSignal): Promise<Multipart> {
  const command = new CreateMultipartUploadCommand({ Bucket: bucket.name, Key: key });
  const { UploadId = "" } = await guarded(signal, () => bucket.s3.send(command, { abortSignal: signal }));
  return { key, uploadId: UploadId };
}

/** Undefined when S3 no longer knows the multipart upload: somebody completed or aborted it. */
export async function sendPart(
  bucket: Bucket,
  multipart: Multipart,
  number: number,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<StoredPart | undefined> {
  const command = new UploadPartCommand({ ...target(bucket, multipart), PartNumber: number, Body: bytes });
  try {
    const { ETag = "" } = await bucket.s3.send(command, { abortSignal: signal });
    return { number, etag: ETag, sizeBytes: bytes.length };
  } catch (error) {
    // who knows of no such upload may close the connection on the bytes, and his answer is lost
    if (isAbsent(error) || (isUnanswered(error) && (await isGone(bucket, multipart, signal)))) return undefined;
    throw toStorageError(error, signal);
  }
}

/** Only when S3 says so. */
async function isGone(bucket: Bucket, multipart: Multipart, signal: AbortSignal): Promise<boolean> {
  try {
    await bucket.s3.send(new ListPartsCommand({ ...target(bucket, multipart), MaxParts: 1 }), { abortSignal: signal });
    return false;
  } catch (error) {
    return isAbsent(error);
  }
}

/**
 * Makes the object out of its parts. What was not made here may have been made by an attempt whose reply was lost, or is being made by
 * another instance: only the object tells. unknown: S3 has no such multipart upload any more. refused: it has other parts than these.
 */
export async function completeMultipart(
  bucket: Bucket,
  multipart: Multipart,
  parts: readonly StoredPart[],
  signal: AbortSignal,
): Promise<"made" | "unknown" | "refused"> {
  const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }));
  const command = new CompleteMultipartUploadCommand({ ...target(bucket, multipart), MultipartUpload: { Parts } });
  try {
    await bucket.s3.send(command, { abortSignal: signal });
    return "made";
  } catch (error) {
    if (isAbsent(error)) return "unknown";
    if (isRefusedPart(error)) return "refused";
    throw toStorageError(error, signal);
  }
}

/** That it ended already is no error. */
export async function abortMultipart(bucket: Bucket, multipart: Multipart, signal: AbortSignal): Promise<void> {
  try {
    await bucket.s3.send(new AbortMultipartUploadCommand(target(bucket, multipart)), { abortSignal: signal });
  } catch (error) {
    if (!isAbsent(error)) throw toStorageError(error, signal);
  }
}

/** All multipart uploads under a prefix, fetched page by page. */
export async function* walkMultiparts(
  bucket: Bucket,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<Multipart & { readonly startedAtMs: number }> {
  for (let from = {}, more = true; more;) {
    const command = new ListMultipartUploadsCommand({ Bucket: bucket.name, Prefix: prefix, ...from });
    const page = await guarded(signal, () => bucket.s3.send(command, { abortSignal: signal }));
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined) continue;
      yield { key: Key, uploadId: UploadId, startedAtMs: Initiated?.getTime() ?? Date.now() };
    }
    more = page.IsTruncated === true && page.NextKeyMarker !== undefined;
    from = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
  }
}

const target = (bucket: Bucket, { key, uploadId }: Multipart) => ({ Bucket: bucket.name, Key: key, UploadId: uploadId });

async function guarded<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw toStorageError(error, signal);
  }
}
