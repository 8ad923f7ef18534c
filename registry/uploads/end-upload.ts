import { z } from "zod";
import type { Digest } from "../../oci/digest.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { abortMultipart } from "./multipart.ts";
import { endUpload } from "./upload-state.ts";
import type { StoredState, UploadStates } from "./upload-states.ts";

const named = z.looseObject({ key: z.string() });

/**
 * Ends an upload and removes all that it wrote, except for bytes that a digest names by now. The state goes last: as long as anything
 * is left, the sweep finds it. False when somebody else changed the upload first; nothing is removed then.
 */
export async function endAndClean(
  { bucket, states }: { readonly bucket: Bucket; readonly states: UploadStates },
  stored: StoredState,
  signal: AbortSignal,
): Promise<boolean> {
  const ended = stored.state.phase === "ended" ? stored : await states.swap(stored, endUpload);
  if (ended === undefined) return false;
  const { id, state } = ended;
  if (state.multipart !== undefined) await abortMultipart(bucket, state.multipart, signal);
  await removeBytes(bucket, id, state.digest, signal);
  await states.remove(id, signal);
  return true;
}

async function removeBytes(bucket: Bucket, id: string, digest: Digest | undefined, signal: AbortSignal): Promise<void> {
  const published = digest === undefined ? undefined : await keyOfDigest(bucket, digest, signal);
  const keys = await bucket.list(storageKeys.bytesOf(id), {}, signal);
  await Promise.all(keys.filter((key) => key !== published).map((key) => bucket.delete(key, signal)));
}

/** Whatever state of life its record is in: bytes that any record names are the collector's. */
export async function keyOfDigest(bucket: Bucket, digest: Digest, signal: AbortSignal): Promise<string | undefined> {
  return parseRecord(named, await bucket.get(storageKeys.digest(digest), signal))?.key;
}
