import { type ActivityOptions, proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { ControlPruneActivities, HostPruneActivities } from "../activities/prune-types.ts";
import type { PruneHostInput, PruneReport } from "./prune-types.ts";

/** A pass that fails is made up for by the next: it ends soon, and shows why. */
const pruneWork: ActivityOptions = {
  scheduleToStartTimeout: "2m",
  startToCloseTimeout: "30m",
  heartbeatTimeout: "10s",
  retry: { initialInterval: "1s", backoffCoefficient: 2, maximumInterval: "10s", maximumAttempts: 4 },
};

const { claimImages } = proxyActivities<ControlPruneActivities>(pruneWork);

const shownImages = 20;

/** One prune of a host's images. First the host lists them, then the control plane says which of them must stay: never the other way round. */
export async function pruneHost(input: PruneHostInput): Promise<PruneReport> {
  const here = proxyActivities<HostPruneActivities>({ ...pruneWork, taskQueue: `host:${input.host}` });
  const { surveyedAtMs, apps } = await here.surveyImages();
  const claims = await claimImages({ apps, keepReleases: input.policy.keepReleases });
  const report = await here.pruneImages({ ...input, claims, surveyedAtMs });
  setCurrentDetails(describe(report));
  return report;
}

function describe({ dryRun, removed, kept, freedBytes, abortedIngests, lowDisk, freeBytes, removals }: PruneReport): string {
  return [
    `**${removed} images removed** (${freedBytes} bytes), ${kept} kept${dryRun ? "; dry run: nothing was changed" : ""}`,
    `${freeBytes} bytes were free${lowDisk ? ": the disk is short" : ""}, ${abortedIngests} abandoned ingests`,
    ...removals.slice(0, shownImages).map(({ name, reason }) => `- \`${name}\`: ${reason}`),
  ].join("\n");
}
