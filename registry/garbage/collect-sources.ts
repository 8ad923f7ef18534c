import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import { readRecordObject } from "../blobs/record-object.ts";
import { DamagedRecordError } from "../bucket/records.ts";
import { digestOfKey, storageKeys } from "../bucket/storage-keys.ts";
import { deleteManifest } from "../manifests/deletion.ts";
import type { Candidate } from "./candidates.ts";
import { type CollectDeps, collectRecord } from "./collect-record.ts";
import { type GarbageCounts, addCounts, noGarbage } from "./counts.ts";
import { youngestCandidateMs } from "./policy.ts";

/**
 * The sources of one repository: each that nobody has pushed for a grace one step further towards its end, in the end with its manifest,
 * which leaves its packs to `collectLinks`. The newest stays, as the next deploy shares most of its packs.
 */
export async function collectSources(deps: CollectDeps, repository: Repository, signal: AbortSignal): Promise<GarbageCounts> {
  const { bucket, policy } = deps;
  const candidates: Candidate[] = [];
  for await (const { key, changedAtMs } of bucket.walk(storageKeys.sources(repository), signal)) candidates.push({ key, changedAtMs });
  const newest = await newestLive(deps, candidates, signal);
  let counts = noGarbage;
  for (const candidate of candidates) {
    const digest = digestOfKey(candidate.key);
    if (digest === undefined || candidate.changedAtMs > youngestCandidateMs(policy)) continue;
    if (candidate.key === newest) continue;
    if (await wasTagged(deps, repository, digest, signal)) continue;
    const removeManifest = async (_record: unknown, inTime: AbortSignal): Promise<void> =>
      void (await deleteManifest(bucket, repository, digest, inTime));
    counts = addCounts(counts, await collectRecord(deps, candidate, removeManifest, signal));
  }
  return counts;
}

/** Somebody has a use of his own for it. */
async function wasTagged({ bucket }: CollectDeps, repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean> {
  return (await bucket.list(storageKeys.taggedAs(repository, digest), { limit: 1 }, signal)).length > 0;
}

/** Its key. A record that was condemned changed later than what was pushed before it, and counts no more for that. */
async function newestLive({ bucket }: CollectDeps, candidates: readonly Candidate[], signal: AbortSignal): Promise<string | undefined> {
  for (const { key } of candidates.toSorted((left, right) => right.changedAtMs - left.changedAtMs)) {
    const found = await readRecordObject(bucket, key, signal).catch((error: unknown) => {
      if (error instanceof DamagedRecordError) return undefined;
      throw error;
    });
    if (found?.life.state === "live") return key;
  }
  return undefined;
}
