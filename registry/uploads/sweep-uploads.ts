import type { Bucket } from "../bucket/bucket.ts";
import { DamagedRecordError } from "../bucket/records.ts";
import { storageKeys, uploadOfBytes, uploadOfState } from "../bucket/storage-keys.ts";
import { concurrently } from "../../config/concurrently.ts";
import { endAndClean } from "./end-upload.ts";
import { abortMultipart, walkMultiparts } from "./multipart.ts";
import { sweepFormerLayout } from "./sweep-former-layout.ts";
import { type StoredState, type UploadStates, createUploadStates } from "./upload-states.ts";

export type SweepOptions = {
  /** what nobody touched for so long is left behind */
  readonly idleMs: number;
};

/**
 * Removes uploads that were left behind, with all that they wrote, and multipart uploads that no upload knows. Safe beside running
 * instances and other sweeps: an upload is ended by compare-and-swap, so whoever goes on with it, and the sweep, cannot both win.
 *
 * An upload whose state cannot be read stays with all that it wrote, and holds up nothing else.
 *
 * S3 servers that list multipart uploads by whole keys only (MinIO) must expire the unknown ones by themselves.
 */
export async function sweepUploads(bucket: Bucket, { idleMs }: SweepOptions, signal: AbortSignal): Promise<void> {
  await sweepStates(bucket, Date.now() - idleMs, signal);
  await sweepMultiparts(bucket, Date.now() - idleMs, signal);
  await sweepFormerLayout(bucket, { idleMs }, signal);
}

const endedAtATime = 16;

async function sweepStates(bucket: Bucket, latestMs: number, signal: AbortSignal): Promise<void> {
  const states = createUploadStates(bucket);
  await concurrently(bucket.walk(storageKeys.allUploads, signal), endedAtATime, async ({ key, changedAtMs }) => {
    const id = uploadOfState(key);
    const stored = id === undefined || changedAtMs > latestMs ? undefined : await readSound(states, id, signal);
    if (stored === undefined || stored === "damaged" || stored.state.changedAtMs > latestMs) return;
    await endAndClean({ bucket, states }, stored, signal);
  });
}

async function sweepMultiparts(bucket: Bucket, latestMs: number, signal: AbortSignal): Promise<void> {
  const states = createUploadStates(bucket);
  for await (const multipart of walkMultiparts(bucket, storageKeys.allBytes, signal)) {
    if (multipart.startedAtMs > latestMs) continue;
    const id = uploadOfBytes(multipart.key);
    const stored = id === undefined ? undefined : await readSound(states, id, signal);
    if (stored !== "damaged" && stored?.state.multipart?.uploadId !== multipart.uploadId) await abortMultipart(bucket, multipart, signal);
  }
}

async function readSound(states: UploadStates, id: string, signal: AbortSignal): Promise<StoredState | "damaged" | undefined> {
  try {
    return await states.read(id, signal);
  } catch (error) {
    if (error instanceof DamagedRecordError) return "damaged";
    throw error;
  }
}
