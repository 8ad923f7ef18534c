import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import type { Bucket, WriteCondition } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

const tagRecord = z.object({
  mediaType: z.string(),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
  deletedAtMs: z.number().optional(),
  /** of its own for every change, by which a writer whose answer was lost knows what it wrote */
  revision: z.string().optional(),
});

/** of many writers of one tag each gets its turn; one that is marked as deleted is gone within moments, unless its deleter died */
const patienceMs = 10_000;
/** after a write that lost to another one: up to so long, and twice as long each time */
const firstPauseMs = 10;
const longestPauseMs = 320;
/** a deleter gives up far earlier, and S3 has by then let go of any request of its */
export const abandonedMs = 2 * 60_000;

/** What a tag names; a deleted one names nothing. */
export async function readTag(bucket: Bucket, repository: Repository, tag: Tag, signal: AbortSignal): Promise<Descriptor | undefined> {
  const record = parseRecord(tagRecord, await bucket.get(storageKeys.tag(repository, tag), signal));
  if (record === undefined || record.deletedAtMs !== undefined) return undefined;
  return { mediaType: record.mediaType, digest: record.digest, size: record.size };
}

/** Whether a tag may be moved off what it names. */
export type TagRule = (current: Digest | undefined) => boolean;

/**
 * Makes a tag name a manifest. Of two writers at a time the one that comes second wins, and nothing of the first is left.
 * @throws DistributionError PRECONDITION_FAILED when the rule says no to what the tag names right before.
 */
export async function moveTag(
  bucket: Bucket,
  repository: Repository,
  tag: Tag,
  descriptor: Descriptor,
  mayReplace: TagRule | undefined,
  signal: AbortSignal,
): Promise<void> {
  await changeTag(bucket, repository, tag, signal, (current) => {
    const named = current?.deletedAtMs === undefined ? current?.digest : undefined;
    if (mayReplace?.(named) === false) throw new DistributionError("PRECONDITION_FAILED", { tag, found: named ?? "no such tag" });
    return named === descriptor.digest ? undefined : descriptor;
  });
}

/**
 * Deletes a tag, or only if it names `only`. As S3 has no conditional delete that all servers know, the tag is first marked: nobody
 * writes over a marked one while its deleter may be alive. @returns false when there was nothing to delete.
 */
export async function deleteTag(
  bucket: Bucket,
  repository: Repository,
  tag: Tag,
  only: Digest | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const marked = await changeTag(bucket, repository, tag, signal, (current) => {
    if (current === undefined || (only !== undefined && current.digest !== only)) return undefined;
    return { ...current, deletedAtMs: Date.now() };
  });
  if (marked !== undefined) await bucket.delete(storageKeys.tag(repository, tag), signal, marked);
  return marked !== undefined;
}

type TagRecord = z.infer<typeof tagRecord>;

/** By compare-and-swap. @returns what was written; undefined when `change` answers so, to leave it. */
async function changeTag(
  bucket: Bucket,
  repository: Repository,
  tag: Tag,
  signal: AbortSignal,
  change: (current: TagRecord | undefined) => Descriptor | TagRecord | undefined,
): Promise<Uint8Array | undefined> {
  const key = storageKeys.tag(repository, tag);
  const revision = randomBytes(8).toString("hex");
  const patientUntilMs = Date.now() + patienceMs;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    const found = await bucket.get(key, signal);
    const current = parseRecord(tagRecord, found);
    if (current?.revision === revision) return found!.bytes;
    if (current?.deletedAtMs === undefined || current.deletedAtMs <= Date.now() - abandonedMs) {
      const next = change(current);
      if (next === undefined) return undefined;
      const condition: WriteCondition = found === undefined ? { if: "absent" } : { if: "unchanged", etag: found.etag };
      const bytes = formatRecord({ ...next, revision });
      if (await bucket.putIf(condition, key, bytes, signal)) return bytes;
    }
    if (Date.now() > patientUntilMs) {
      throw new DistributionError("UNAVAILABLE", { reason: "too many writers of one tag", tag, retryAfterSeconds: 5 });
    }
    await sleep(Math.random() * pauseMs, undefined, { signal });
  }
}
