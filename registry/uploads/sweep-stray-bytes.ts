import type { BlobRecord } from "../blobs/record-life.ts";
import { readRecordObject } from "../blobs/record-object.ts";
import { DamagedRecordError } from "../bucket/records.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys, uploadOfBytes, uploadOfState } from "../bucket/storage-keys.ts";

const readsAtATime = 16;

/** about 20 MB: so many bytes are looked for in the records at a time */
const mostPerRound = 100_000;

/**
 * Removes bytes that neither an upload nor a digest names: what S3 still wrote for a process that was killed, after its upload had been
 * removed. Reads every digest record, so it belongs to the collection of garbage, not to every sweep. A record that cannot be read may
 * name any bytes: then nothing is removed.
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
  const found: string[] = [];
  let strays = new Set<string>();
  const endRound = async () => {
    await dropNamed(bucket, strays, signal);
    if (!dryRun) for (const key of strays) await bucket.delete(key, signal);
    found.push(...strays);
    strays = new Set();
  };
  for await (const { key, changedAtMs } of bucket.walk(storageKeys.allBytes, signal)) {
    if (changedAtMs <= latestMs) strays.add(key);
    if (strays.size === mostPerRound) await endRound();
  }
  await endRound();
  return found;
}

async function dropNamed(bucket: Bucket, strays: Set<string>, signal: AbortSignal): Promise<void> {
  if (strays.size === 0) return;
  const open = new Set<string>();
  for await (const { key } of bucket.walk(storageKeys.allUploads, signal)) open.add(uploadOfState(key) ?? "");
  for (const key of strays) {
    if (open.has(uploadOfBytes(key) ?? "none")) strays.delete(key);
  }
  try {
    for await (const record of readAll(bucket, storageKeys.allDigests, signal)) strays.delete(record.key);
  } catch (error) {
    if (!(error instanceof DamagedRecordError)) throw error;
    strays.clear();
  }
}

async function* readAll(bucket: Bucket, prefix: string, signal: AbortSignal): AsyncGenerator<BlobRecord> {
  const read = async (keys: readonly string[]) =>
    (await Promise.all(keys.map(async (key) => readRecordObject(bucket, key, signal)))).flatMap((found) =>
      found === undefined ? [] : [found.record],
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
