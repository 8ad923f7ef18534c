import { setCurrentDetails, setHandler } from "@temporalio/workflow";
import { control } from "./activities.ts";
import { garbageQuery } from "./messages.ts";
import type { CollectGarbageInput, GarbageCounts, GarbageReport } from "./types.ts";

/**
 * One pass of the registry's garbage collection. What it condemns, a pass at least a grace later removes. Each phase is an activity that
 * goes on where it was after a crash, so the history stays as short as this function.
 */
export async function collectGarbage({ dryRun, graceMs }: CollectGarbageInput): Promise<GarbageReport> {
  const policy = { graceMs, passStartedAtMs: Date.now(), dryRun };
  let report: Partial<GarbageReport> = { dryRun };
  setHandler(garbageQuery, () => report);
  const note = (more: Partial<GarbageReport>) => {
    report = { ...report, ...more };
    setCurrentDetails(describe(report));
  };

  const { repositories, counts: links } = await control.collectLinks(policy, "blobs of repositories that no manifest names");
  note({ repositories, links });
  const blobs = await control.collectDigests(policy, "bytes that no repository has");
  note({ blobs });
  await control.sweepUploads({ dryRun }, "uploads that were left behind");
  const strays = await control.sweepStrayBytes({ dryRun }, "bytes that neither an upload nor a digest names");
  note({ strays });
  return { dryRun, repositories, links, blobs, strays };
}

function describe({ dryRun, repositories, links, blobs, strays }: Partial<GarbageReport>): string {
  const steps = (what: string, counts: GarbageCounts | undefined) =>
    counts === undefined
      ? []
      : [
          `- ${what}: ${counts.condemned} condemned (${counts.condemnedBytes} bytes), ${counts.removed} removed (${counts.removedBytes} bytes)`,
        ];
  return [
    `**${repositories ?? 0} repositories**${dryRun === true ? ", dry run: nothing is changed" : ""}`,
    ...steps("blobs of repositories", links),
    ...steps("bytes of blobs", blobs),
    ...(strays === undefined ? [] : [`- stray bytes: ${strays}`]),
  ].join("\n");
}
