import { setTimeout as sleep } from "node:timers/promises";
import { DistributionError } from "../../oci/errors.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { DamagedRecordError, formatRecord } from "../bucket/records.ts";
import {
  type BlobRecord,
  type LivingRecord,
  type RecordLife,
  formatLivingRecord,
  live,
  parseLivingRecord,
  planForPusher,
} from "./record-life.ts";

export type RecordObject = LivingRecord & { readonly etag: string };

/** a dying record goes within moments; a client waits this long and is then told to come again */
const patienceMs = 5_000;
const pollMs = 100;
const mostConflicts = 20;
const retryAfterSeconds = 5;

/** @throws DamagedRecordError */
export async function readRecordObject(bucket: Bucket, key: string, signal: AbortSignal): Promise<RecordObject | undefined> {
  const found = await bucket.get(key, signal);
  if (found === undefined) return undefined;
  try {
    return { ...parseLivingRecord(JSON.parse(Buffer.from(found.bytes).toString("utf8"))), etag: found.etag };
  } catch (cause) {
    throw new DamagedRecordError(cause);
  }
}

/** Replaces what was read; false when it has changed since. */
export function replaceRecord(bucket: Bucket, key: string, etag: string, next: LivingRecord, signal: AbortSignal): Promise<boolean> {
  return bucket.putIf({ if: "unchanged", etag }, key, formatRecord(formatLivingRecord(next)), signal);
}

/** Marks what was read; false when it has changed since. */
export function markRecord(
  bucket: Bucket,
  key: string,
  { record, etag }: RecordObject,
  life: RecordLife,
  signal: AbortSignal,
): Promise<boolean> {
  return replaceRecord(bucket, key, etag, { record, life }, signal);
}

/** What a record is to somebody who is about to rely on it: a condemned one is revived first, so only a live one may be relied upon. */
export async function claimRecord(bucket: Bucket, key: string, signal: AbortSignal): Promise<LivingRecord | undefined> {
  for (let attempt = 1; attempt <= mostConflicts; attempt += 1) {
    const found = await readRecordObject(bucket, key, signal);
    if (found === undefined || planForPusher(found.life, Date.now()) !== "revive") return found;
    if (await markRecord(bucket, key, found, live, signal)) return { record: found.record, life: live };
  }
  throw tooManyWriters();
}

/**
 * Puts a live record in place, whatever stands there.
 * @param prefer whose bytes count when the record that stands there is sound
 * @returns the record that holds from now on. @throws DistributionError UNAVAILABLE when a dying record does not go in time.
 */
export async function establishRecord(
  bucket: Bucket,
  key: string,
  { record, prefer }: { record: BlobRecord; prefer: "existing" | "given" },
  signal: AbortSignal,
): Promise<BlobRecord> {
  const deadline = Date.now() + patienceMs;
  const wanted = { record, life: live };
  if (await bucket.putIf({ if: "absent" }, key, formatRecord(formatLivingRecord(wanted)), signal)) return record;
  for (let attempt = 1; attempt <= mostConflicts;) {
    const found = await readRecordObject(bucket, key, signal);
    const plan = found === undefined ? "make" : planForPusher(found.life, Date.now());
    if (plan === "wait") {
      if (Date.now() > deadline) throw new DistributionError("UNAVAILABLE", { reason: "the blob is being removed", retryAfterSeconds });
      await sleep(pollMs, undefined, { signal });
      continue;
    }
    attempt += 1;
    const isTheirs = found !== undefined && (prefer === "existing" || found.record.key === record.key) && plan !== "replace";
    if (isTheirs && plan === "take") return found.record;
    const next = isTheirs ? { record: found.record, life: live } : wanted;
    const isWritten =
      found === undefined
        ? await bucket.putIf({ if: "absent" }, key, formatRecord(formatLivingRecord(next)), signal)
        : await replaceRecord(bucket, key, found.etag, next, signal);
    if (isWritten) return next.record;
  }
  throw tooManyWriters();
}

function tooManyWriters(): DistributionError {
  return new DistributionError("UNAVAILABLE", { reason: "too many writers of one record", retryAfterSeconds });
}
