import { randomBytes } from "node:crypto";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

/** A key that nobody wrote or will write but the caller: two writers of one upload never mix their bytes. */
export function freshBytesKey(uploadId: string): string {
  return storageKeys.bytes(uploadId, randomBytes(8).toString("hex"));
}

/** Removes objects that nothing names. What fails here is found by the sweep. */
export async function dropBytes(bucket: Bucket, keys: Iterable<string>): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  await Promise.all([...keys].map((key) => bucket.delete(key, signal).catch(() => {})));
}
