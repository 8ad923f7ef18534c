import { setTimeout as sleep } from "node:timers/promises";
import { DistributionError } from "../../oci/errors.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { completeMultipart, sendPart } from "./multipart.ts";
import { type Multipart, type StoredPart, type UploadState, receivedBytes } from "./upload-state.ts";
import type { UploadStates } from "./upload-states.ts";

type Joined = UploadState & { readonly multipart: Multipart; readonly tailBytes: Uint8Array | undefined };

/** how long another instance may take to make the object while it hides the parts from us */
const mostLooks = 20;
const lookEveryMs = 250;

/**
 * Makes one object of an upload's parts and its tail. Doing it twice, also at the same time, does no harm: what counts is that the object
 * is there, with all bytes.
 * @throws DistributionError BLOB_UPLOAD_UNKNOWN when the upload is no more, BLOB_UPLOAD_INVALID when S3 holds other parts.
 */
export async function joinParts(
  { bucket, states }: { readonly bucket: Bucket; readonly states: UploadStates },
  id: string,
  upload: Joined,
  signal: AbortSignal,
): Promise<void> {
  const sizeBytes = receivedBytes(upload);
  const parts = await withTail(bucket, upload, signal);
  const outcome = parts === undefined ? "unknown" : await completeMultipart(bucket, upload.multipart, parts, signal);
  for (let look = 1; look <= mostLooks; look += 1) {
    const storedBytes = (await bucket.head(upload.multipart.key, signal))?.sizeBytes;
    if (storedBytes === sizeBytes) return;
    if (storedBytes !== undefined) throw new DistributionError("UNAVAILABLE", { sentBytes: sizeBytes, storedBytes });
    if ((await states.read(id, signal)) === undefined) throw new DistributionError("BLOB_UPLOAD_UNKNOWN");
    await sleep(lookEveryMs, undefined, { signal });
  }
  throw outcome === "refused"
    ? new DistributionError("BLOB_UPLOAD_INVALID", { reason: "S3 holds other parts than were sent" })
    : new DistributionError("UNAVAILABLE", { reason: "S3 lost the parts of this upload" });
}

/** The tail becomes the last part; undefined when S3 takes no more of them. */
async function withTail(bucket: Bucket, upload: Joined, signal: AbortSignal): Promise<readonly StoredPart[] | undefined> {
  const { parts, tail, tailBytes, multipart, reservedParts } = upload;
  if (tail === undefined) return parts;
  const bytes = tailBytes ?? (await bucket.get(tail.key, signal))?.bytes;
  const last = bytes === undefined ? undefined : await sendPart(bucket, multipart, reservedParts + 1, bytes, signal);
  return last === undefined ? undefined : [...parts, last];
}
