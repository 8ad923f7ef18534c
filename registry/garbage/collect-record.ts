import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord } from "../bucket/records.ts";
import {
  type BlobRecord,
  type RecordLife,
  formatLivingRecord,
  planForCollector,
  removalMs as usualRemovalMs,
} from "../blobs/record-life.ts";
import { type RecordObject, markRecord, readRecordObject } from "../blobs/record-object.ts";
import { DamagedRecordError } from "../bucket/records.ts";
import type { Candidate } from "./candidates.ts";
import { type GarbageCounts, noGarbage } from "./counts.ts";
import type { GarbagePolicy } from "./policy.ts";

export type CollectDeps = {
  readonly bucket: Bucket;
  readonly policy: GarbagePolicy;
  /** how long after its mark a record may still be deleted */
  readonly removalMs?: number;
};

/**
 * Takes an unreferenced record one step further. Must be called after the references were read, with a policy whose pass began before.
 * @param removeBytes what goes before the record itself does
 */
export async function collectRecord(
  { bucket, policy, removalMs = usualRemovalMs }: CollectDeps,
  { key, changedAtMs }: Candidate,
  removeBytes: (record: BlobRecord, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<GarbageCounts> {
  const found = await readRecordObject(bucket, key, signal).catch((error: unknown) => {
    if (error instanceof DamagedRecordError) return error;
    throw error;
  });
  if (found instanceof DamagedRecordError) return { ...noGarbage, damaged: 1 };
  if (found === undefined) return noGarbage;
  const { sizeBytes } = found.record;
  switch (planForCollector({ life: found.life, changedAtMs }, policy)) {
    case "keep":
      return noGarbage;
    case "condemn": {
      const isDone = policy.dryRun || (await markRecord(bucket, key, found, { state: "condemned", atMs: Date.now() }, signal));
      return isDone ? { ...noGarbage, condemned: 1, condemnedBytes: sizeBytes } : noGarbage;
    }
    case "remove": {
      const isDone = policy.dryRun || (await remove({ bucket, removalMs }, key, found, removeBytes, signal));
      return isDone ? { ...noGarbage, removed: 1, removedBytes: sizeBytes } : noGarbage;
    }
  }
}

/**
 * From the mark on nobody takes the record up again but the next collector, once this one must have given up. So nothing is deleted
 * later than `removalMs` after the mark; and a cancelled pass still ends what it has marked, as pushers wait for it.
 */
async function remove(
  { bucket, removalMs }: Required<Omit<CollectDeps, "policy">>,
  key: string,
  found: RecordObject,
  removeBytes: (record: BlobRecord, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  signal.throwIfAborted();
  const inTime = AbortSignal.timeout(removalMs);
  const life: RecordLife = { state: "dying", atMs: Date.now() };
  if (!(await markRecord(bucket, key, found, life, inTime))) return false;
  await removeBytes(found.record, inTime);
  inTime.throwIfAborted();
  // a pusher writes a new one as soon as it is gone
  await bucket.delete(key, inTime, formatRecord(formatLivingRecord({ record: found.record, life })));
  return true;
}
