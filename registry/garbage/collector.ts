import type { Repository } from "../../oci/repository.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { collectDigests } from "./collect-digests.ts";
import { collectLinks } from "./collect-links.ts";
import { collectSources } from "./collect-sources.ts";
import { type GarbageCounts, addCounts, noGarbage } from "./counts.ts";
import type { GarbagePolicy } from "./policy.ts";
import { walkRepositories } from "./walk-repositories.ts";

/** How far a phase has come: a pass that is done again after a crash goes on from here. */
export type LinksProgress = { readonly after?: Repository; readonly repositories: number; readonly counts: GarbageCounts };
export type DigestsProgress = { readonly after?: string; readonly counts: GarbageCounts };

/**
 * The garbage collection of a bucket in steps, each of which may be cut off anywhere and done again. A pass is `collectLinks`, of sources
 * too, and then `collectDigests`; any number of collectors, pushers and readers may be at work at the same time (docs/races.md).
 */
export type GarbageCollector = {
  collectLinks(
    policy: GarbagePolicy,
    from: LinksProgress | undefined,
    onProgress: (progress: LinksProgress) => void,
    signal: AbortSignal,
  ): Promise<LinksProgress>;
  collectDigests(
    policy: GarbagePolicy,
    from: DigestsProgress | undefined,
    onProgress: (progress: DigestsProgress) => void,
    signal: AbortSignal,
  ): Promise<DigestsProgress>;
};

/** @param mostCandidates of one round, which bounds the memory that a pass takes; default 100 000 (about 30 MB) */
export function createGarbageCollector({ bucket, mostCandidates: most }: { bucket: Bucket; mostCandidates?: number }): GarbageCollector {
  const bound = most === undefined ? {} : { most };
  return {
    collectLinks: async (policy, from, onProgress, signal) => {
      let progress: LinksProgress = from ?? { repositories: 0, counts: noGarbage };
      for await (const repository of walkRepositories(bucket, signal, progress.after)) {
        const sources = await collectSources({ bucket, policy }, repository, signal);
        const links = await collectLinks({ bucket, policy }, { repository, ...bound }, signal);
        const counts = addCounts(progress.counts, addCounts(sources, links));
        progress = { after: repository, repositories: progress.repositories + 1, counts };
        onProgress(progress);
      }
      return progress;
    },
    collectDigests: async (policy, from, onProgress, signal) => {
      let progress: DigestsProgress = from ?? { counts: noGarbage };
      for (let after = progress.after; ;) {
        const { counts, last } = await collectDigests({ bucket, policy }, { after, ...bound }, signal);
        progress = { ...(last === undefined ? {} : { after: last }), counts: addCounts(progress.counts, counts) };
        if (last === undefined) return progress;
        after = last;
        onProgress(progress);
      }
    },
  };
}
