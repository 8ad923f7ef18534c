import { activityInfo } from "@temporalio/activity";
import type { Bucket } from "../registry/bucket/bucket.ts";
import { type DigestsProgress, type LinksProgress, createGarbageCollector } from "../registry/garbage/collector.ts";
import { sweepStraysDaily } from "../registry/garbage/sweep-strays-daily.ts";
import { scrubRepository } from "../registry/scrub/scrub-repository.ts";
import { type ScrubProgress, scrubBlobs, scrubRepositories } from "../registry/scrub/scrubber.ts";
import { sweepUploads } from "../registry/uploads/sweep-uploads.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { RegistryActivities } from "./types.ts";

export type RegistryDeps = {
  readonly bucket: Bucket;
  /** an upload that nobody touched for so long is left behind */
  readonly uploadIdleMs: number;
};

/** What is done to the bucket as a whole. Each activity heartbeats how far it has come; its next attempt goes on from there. */
export function createRegistryActivities({ bucket, uploadIdleMs }: RegistryDeps): RegistryActivities {
  const collector = createGarbageCollector({ bucket });
  return {
    collectLinks: (policy) =>
      resuming<LinksProgress, { repositories: number; counts: LinksProgress["counts"] }>(async (from, report, signal) => {
        const { repositories, counts } = await collector.collectLinks(policy, from, report, signal);
        return { repositories, counts };
      }),
    collectDigests: (policy) =>
      resuming<DigestsProgress, DigestsProgress["counts"]>(
        async (from, report, signal) => (await collector.collectDigests(policy, from, report, signal)).counts,
      ),
    sweepUploads: ({ dryRun }) =>
      withHeartbeat(async (signal) => {
        if (!dryRun) await sweepUploads(bucket, { idleMs: uploadIdleMs }, signal);
      }),
    sweepStrayBytes: ({ dryRun }) => withHeartbeat((signal) => sweepStraysDaily(bucket, { idleMs: uploadIdleMs, dryRun }, signal)),
    scrubBlobs: ({ quarantine }) =>
      resuming<ScrubProgress, ScrubProgress["report"]>((from, report, signal) => scrubBlobs({ bucket, quarantine }, from, report, signal)),
    scrubRepositories: ({ quarantine, repository }) =>
      resuming<ScrubProgress, ScrubProgress["report"]>((from, report, signal) =>
        repository === undefined
          ? scrubRepositories({ bucket, quarantine }, from, report, signal)
          : scrubRepository({ bucket, quarantine }, { repository, withBlobs: true }, signal),
      ),
  };
}

/** The last heartbeat of an earlier attempt is where this one begins; it is repeated at once, as the first beat takes its place. */
function resuming<P, T>(work: (from: P | undefined, report: (progress: P) => void, signal: AbortSignal) => Promise<T>): Promise<T> {
  const from = activityInfo().heartbeatDetails as P | undefined;
  return withHeartbeat((signal, report) => {
    if (from !== undefined) report(from);
    return work(from, report, signal);
  });
}
