import type { Bucket } from "../bucket/bucket.ts";
import { type WrittenBy, storageKeys } from "../bucket/storage-keys.ts";

/** What an upload session holds between two requests: bytes that are too few for a part of their own. */
export type IdleTail = {
  keep(bytes: Buffer): Promise<void>;
  /** Copies the bytes into the start of `buffer`, forgets them and tells how many they were. */
  take(buffer: Buffer, signal: AbortSignal): Promise<number>;
  read(signal: AbortSignal): Promise<Uint8Array>;
  /** Never throws. */
  drop(): Promise<void>;
};

export type IdleTails = { open(id: WrittenBy): IdleTail };

/** The S3 client has its own time limits; a request that goes away must not take bytes with it that it has delivered. */
const unhurried = new AbortController().signal;

/** Tails stay in memory up to a limit for all sessions together; those beyond it wait in the bucket. */
export function createIdleTails({ bucket, memoryLimitBytes }: { bucket: Bucket; memoryLimitBytes: number }): IdleTails {
  let heldBytes = 0;
  return {
    open: (id) => {
      const key = storageKeys.uploadTail(id);
      let held: Buffer | undefined;
      let isStored = false;
      let isWritten = false;

      const forget = () => {
        heldBytes -= held?.length ?? 0;
        held = undefined;
      };
      const read = async (signal: AbortSignal): Promise<Uint8Array> => {
        if (held !== undefined) return held;
        return isStored ? ((await bucket.get(key, signal))?.bytes ?? new Uint8Array()) : new Uint8Array();
      };
      return {
        read,
        keep: async (bytes) => {
          forget();
          if (heldBytes + bytes.length <= memoryLimitBytes) {
            held = Buffer.from(bytes);
            heldBytes += held.length;
            isStored = false;
            return;
          }
          isWritten = true;
          await bucket.put(key, bytes, unhurried);
          isStored = true;
        },
        take: async (buffer, signal) => {
          const bytes = await read(signal);
          buffer.set(bytes);
          forget();
          isStored = false;
          return bytes.length;
        },
        drop: async () => {
          forget();
          if (isWritten) await bucket.delete(key, unhurried).catch(() => {});
          isStored = false;
          isWritten = false;
        },
      };
    },
  };
}
