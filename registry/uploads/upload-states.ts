import { randomBytes } from "node:crypto";
import { DistributionError } from "../../oci/errors.ts";
import type { Bucket, WriteCondition } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { type Stamp, type UploadState, receivedBytes, uploadState } from "./upload-state.ts";

/** A state together with the ETag by which it may be replaced. */
export type StoredState = { readonly id: string; readonly state: UploadState; readonly etag: string };
export type Change = (state: UploadState, stamp: Stamp) => UploadState;

export type UploadStates = {
  create(id: string, make: (stamp: Stamp) => UploadState, signal: AbortSignal): Promise<StoredState>;
  read(id: string, signal: AbortSignal): Promise<StoredState | undefined>;
  /** Undefined when somebody else changed it since. It takes no request's signal: whether it was written must be known. */
  swap(stored: StoredState, change: Change): Promise<StoredState | undefined>;
  remove(id: string, signal: AbortSignal): Promise<void>;
};

const swapTimeoutMs = 60_000;

/** The upload states of a bucket, each changed by compare-and-swap only. */
export function createUploadStates(bucket: Bucket): UploadStates {
  const read: UploadStates["read"] = async (id, signal) => {
    const object = await bucket.get(storageKeys.upload(id), signal);
    const state = parseRecord(uploadState, object);
    return state === undefined ? undefined : { id, state, etag: object!.etag };
  };
  const write = async (
    id: string,
    condition: WriteCondition,
    state: UploadState,
    signal: AbortSignal,
  ): Promise<StoredState | undefined> => {
    const etag = await bucket.swap(condition, storageKeys.upload(id), formatRecord(state), signal, "application/json");
    if (etag !== undefined && etag !== "") return { id, state, etag };
    // a retry after a reply that was lost meets what the first attempt wrote
    const found = await read(id, signal);
    return found?.state.revision === state.revision ? found : undefined;
  };
  return {
    read,
    create: async (id, make, signal) => {
      const stored = await write(id, { if: "absent" }, make(freshStamp()), signal);
      if (stored === undefined) throw new DistributionError("UNAVAILABLE", { reason: "the upload id is taken" });
      return stored;
    },
    swap: ({ id, state, etag }, change) =>
      write(id, { if: "unchanged", etag }, change(state, freshStamp()), AbortSignal.timeout(swapTimeoutMs)),
    remove: (id, signal) => bucket.delete(storageKeys.upload(id), signal),
  };
}

/** What to tell a writer that lost against another: where the upload stands, or that there is none any more. */
export async function lostAgainstOther(states: UploadStates, id: string, signal: AbortSignal): Promise<DistributionError> {
  const found = await states.read(id, signal);
  if (found === undefined || found.state.phase !== "open") return new DistributionError("BLOB_UPLOAD_UNKNOWN");
  return new DistributionError("RANGE_INVALID", {
    reason: "another request went on with this upload",
    receivedBytes: receivedBytes(found.state),
  });
}

function freshStamp(): Stamp {
  return { atMs: Date.now(), revision: randomBytes(8).toString("hex") };
}
