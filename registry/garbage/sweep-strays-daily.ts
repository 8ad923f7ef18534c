import { z } from "zod";
import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { sweepLocations } from "../locations/location-records.ts";
import { sweepStrayBytes } from "../uploads/sweep-stray-bytes.ts";

const dayMs = 24 * 60 * 60 * 1000;
const sweptRecord = z.object({ atMs: z.number() });

/** Removes stray bytes and old locations, but reads all records for that only once a day. @returns how many there were */
export async function sweepStraysDaily(
  bucket: Bucket,
  { idleMs, dryRun }: { readonly idleMs: number; readonly dryRun: boolean },
  signal: AbortSignal,
): Promise<number> {
  const last = parseRecord(sweptRecord, await bucket.get(storageKeys.straysSwept, signal));
  const startedAtMs = Date.now();
  if (!dryRun && last !== undefined && last.atMs > startedAtMs - dayMs) return 0;
  const { length } = await sweepStrayBytes(bucket, { idleMs, dryRun }, signal);
  if (!dryRun) await sweepLocations(bucket, startedAtMs, signal);
  if (!dryRun) await bucket.put(storageKeys.straysSwept, formatRecord({ atMs: startedAtMs }), signal);
  return length;
}
