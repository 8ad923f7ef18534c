import { z } from "zod";
import type { Bucket } from "../bucket/bucket.ts";
import { parseRecord } from "../bucket/records.ts";
import { storageKeys, uploadOfBytes, uploadOfState } from "../bucket/storage-keys.ts";

const named = z.looseObject({ key: z.string() });
const readsAtATime = 16;

/**
 * Removes bytes that neither an upload nor a digest names: what S3 still wrote for a process that was killed, after its upload had been
 * removed. Reads every digest record, so it belongs to the collection of garbage, not to every sweep.
 *
 * The order makes it safe: bytes first, then uploads, then digests. An upload is removed only after the digest names its bytes, so what
 * is missing among the uploads is found among the digests.
 * @returns the keys removed, or those that would be
 */
export async function sweepStrayBytes(
  bucket: Bucket,
  { idleMs, dryRun = false }: { readonly idleMs: number; readonly dryRun?: boolean },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const latestMs = Date.now() - idleMs;
  const strays = new Set<string>();
  for await (const { key, changedAtMs } of bucket.walk(storageKeys.allBytes, signal)) {
    if (changedAtMs <= latestMs) strays.add(key);
  }
  const open = new Set<string>();
  for await (const { key } of bucket.walk(storageKeys.allUploads, signal)) open.add(uploadOfState(key) ?? "");
  for (const key of strays) {
    if (open.has(uploadOfBytes(key) ?? "none")) strays.delete(key);
  }
  for await (const record of readAll(bucket, storageKeys.allDigests, signal)) strays.delete(record.key);
  if (!dryRun) for (const key of strays) await bucket.delete(key, signal);
  return [...strays];
}

async function* readAll(bucket: Bucket, prefix: string, signal: AbortSignal): AsyncGenerator<z.infer<typeof named>> {
  const read = async (keys: readonly string[]) =>
    (await Promise.all(keys.map(async (key) => parseRecord(named, await bucket.get(key, signal))))).filter(
      (record) => record !== undefined,
    );
  let batch: string[] = [];
  for await (const { key } of bucket.walk(prefix, signal)) {
    batch.push(key);
    if (batch.length < readsAtATime) continue;
    yield* await read(batch);
    batch = [];
  }
  yield* await read(batch);
}
