import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { digestOfKey, storageKeys } from "../bucket/storage-keys.ts";
import { readCandidates } from "./candidates.ts";
import { type CollectDeps, collectRecord } from "./collect-record.ts";
import { concurrently } from "../../config/concurrently.ts";
import { type GarbageCounts, addCounts, noGarbage } from "./counts.ts";
import { walkRepositories } from "./walk-repositories.ts";

const atATime = 8;

/**
 * One round over the digests: those that no repository links go one step further towards their end, in the end with their bytes.
 * @returns `last` to go on behind; undefined when no digest is left
 */
export async function collectDigests(
  deps: CollectDeps,
  { after, most }: { after?: string | undefined; most?: number },
  signal: AbortSignal,
): Promise<{ readonly counts: GarbageCounts; readonly last: string | undefined }> {
  const { bucket, policy } = deps;
  const round = await readCandidates(
    bucket,
    storageKeys.allDigests,
    { policy, startAfter: after, ...(most === undefined ? {} : { most }) },
    signal,
  );
  const unlinked = round.byDigest;
  if (unlinked.size > 0) await dropLinked(bucket, unlinked, signal);
  let counts = noGarbage;
  const removeBytes = ({ key }: { key: string }, inTime: AbortSignal) => bucket.delete(key, inTime);
  await concurrently(unlinked.values(), atATime, async (candidate) => {
    const step = await collectRecord(deps, candidate, removeBytes, signal);
    counts = addCounts(counts, step);
  });
  return { counts, last: round.last };
}

async function dropLinked(bucket: Bucket, digests: Map<Digest, unknown>, signal: AbortSignal): Promise<void> {
  const [first, last] = [digests.keys().next().value!, [...digests.keys()].at(-1)!];
  await concurrently(walkRepositories(bucket, signal), atATime, (repository) =>
    dropLinkedIn(bucket, repository, { first, last, digests }, signal),
  );
}

/** Links sort as digests do, so only those between the round's first and last are listed. */
async function dropLinkedIn(
  bucket: Bucket,
  repository: Repository,
  { first, last, digests }: { first: Digest; last: Digest; digests: Map<Digest, unknown> },
  signal: AbortSignal,
): Promise<void> {
  const justBefore = storageKeys.blob(repository, first).slice(0, -1);
  const end = storageKeys.blob(repository, last);
  for await (const { key } of bucket.walk(storageKeys.blobs(repository), signal, justBefore)) {
    if (key > end) return;
    const digest = digestOfKey(key);
    if (digest !== undefined) digests.delete(digest);
  }
}
