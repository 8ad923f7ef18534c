import { setCurrentDetails } from "@temporalio/workflow";
import { control } from "./activities.ts";
import type { ScrubInput, ScrubReport } from "./types.ts";

const shownDamages = 10;
const mostDamagesKept = 100;

/** Hashes all that the registry holds, or one repository's part of it, and follows every name to what it names. */
export async function scrubRegistry({ repository, quarantine }: ScrubInput): Promise<ScrubReport> {
  if (repository !== undefined) return show(await control.scrubRepositories({ quarantine, repository }, `all of ${repository}`));
  const blobs = show(await control.scrubBlobs({ quarantine }, "bytes of all blobs"));
  return show(merge(blobs, await control.scrubRepositories({ quarantine }, "links, manifests and tags of all repositories")));
}

function merge(a: ScrubReport, b: ScrubReport): ScrubReport {
  return {
    blobs: a.blobs + b.blobs,
    bytes: a.bytes + b.bytes,
    links: a.links + b.links,
    manifests: a.manifests + b.manifests,
    tags: a.tags + b.tags,
    damaged: a.damaged + b.damaged,
    damages: [...a.damages, ...b.damages].slice(0, mostDamagesKept),
  };
}

function show(report: ScrubReport): ScrubReport {
  const { blobs, bytes, links, manifests, tags, damaged, damages } = report;
  setCurrentDetails(
    [
      `**${damaged} damaged** of ${blobs} blobs (${bytes} bytes), ${links} links, ${manifests} manifests, ${tags} tags`,
      ...damages
        .slice(0, shownDamages)
        .map(({ kind, key, expected, found }) => `- ${kind} \`${key}\`: expected ${expected}, found ${found}`),
    ].join("\n"),
  );
  return report;
}
