import type { Repository } from "../../oci/repository.ts";
import { digestOfKey, storageKeys } from "../bucket/storage-keys.ts";
import { concurrently } from "../../config/concurrently.ts";
import { walkRepositories } from "../garbage/walk-repositories.ts";
import { type ScrubReport, addReports, nothingScrubbed } from "./report.ts";
import { type ScrubDeps, scrubBlob } from "./scrub-blob.ts";
import { scrubRepository } from "./scrub-repository.ts";

/** How far a scrub has come: one that is done again after a crash goes on behind `after`. */
export type ScrubProgress = { readonly after?: string; readonly report: ScrubReport };

const blobsAtATime = 4;
const blobsPerStep = 64;

/** Hashes all bytes that digests name. Memory does not grow with the bucket. */
export async function scrubBlobs(
  deps: ScrubDeps,
  from: ScrubProgress | undefined,
  onProgress: (progress: ScrubProgress) => void,
  signal: AbortSignal,
): Promise<ScrubReport> {
  let progress: ScrubProgress = from ?? { report: nothingScrubbed };
  for (;;) {
    const page = { limit: blobsPerStep, ...(progress.after === undefined ? {} : { startAfter: progress.after }) };
    const keys = await deps.bucket.list(storageKeys.allDigests, page, signal);
    let { report } = progress;
    await concurrently(keys, blobsAtATime, async (key) => {
      const digest = digestOfKey(key);
      const found = digest === undefined ? {} : await scrubBlob(deps, digest, signal);
      report = addReports(report, found);
    });
    const last = keys.at(-1);
    if (last === undefined) return report;
    progress = { after: last, report };
    onProgress(progress);
  }
}

/** Follows every link, manifest and tag of all repositories. */
export async function scrubRepositories(
  deps: ScrubDeps,
  from: ScrubProgress | undefined,
  onProgress: (progress: ScrubProgress) => void,
  signal: AbortSignal,
): Promise<ScrubReport> {
  let progress: ScrubProgress = from ?? { report: nothingScrubbed };
  for await (const repository of walkRepositories(deps.bucket, signal, progress.after as Repository | undefined)) {
    const found = await scrubRepository(deps, { repository, withBlobs: false }, signal);
    progress = { after: repository, report: addReports(progress.report, found) };
    onProgress(progress);
  }
  return progress.report;
}
