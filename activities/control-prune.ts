import type { Client } from "@temporalio/client";
import { runTagPrefix } from "../mirror/images/run-tag.ts";
import { isDigest } from "../oci/digest.ts";
import { isRepository } from "../oci/repository.ts";
import type { ReleaseLedger } from "../registry/releases/release-ledger.ts";
import type { ImageClaims } from "../workflows/prune-types.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { ControlPruneActivities } from "./prune-types.ts";

export type ControlPruneDeps = { readonly ledger: Pick<ReleaseLedger, "newest">; readonly client: Client };

export function createControlPruneActivities({ ledger, client }: ControlPruneDeps): ControlPruneActivities {
  return {
    claimImages: ({ apps, keepReleases }) =>
      withHeartbeat(async (signal) => {
        const openRunTags = await listOpenRunTags(client);
        const replicating = await listReplicating(client);
        // after the runs: one that ended in between has recorded its release by now
        const releases: ImageClaims["releases"][number][] = [];
        for (const { org, app } of apps) {
          const newest = await ledger.newest(org, app, keepReleases + 1, signal);
          const live = newest.at(-1)?.version;
          releases.push(...newest.map(({ version, image }) => ({ org, app, version, live: version === live, image })));
        }
        return { releases, openRunTags, replicating };
      }),
  };
}

async function listOpenRunTags(client: Client): Promise<string[]> {
  const tags: string[] = [];
  for await (const { runId } of client.workflow.list({ query: "WorkflowType = 'deploy' AND ExecutionStatus = 'Running'" })) {
    tags.push(runTagPrefix(runId));
  }
  return tags;
}

async function listReplicating(client: Client): Promise<ImageClaims["replicating"][number][]> {
  const replicating: ImageClaims["replicating"][number][] = [];
  for await (const { workflowId } of client.workflow.list({ query: "WorkflowType = 'replicateImage' AND ExecutionStatus = 'Running'" })) {
    const image = replicatedImage(workflowId);
    if (image !== undefined) replicating.push(image);
  }
  return replicating;
}

/** The image that a workflow of this id replicates: the inverse of `workflowIds.replicateImage`. */
export function replicatedImage(workflowId: string): ImageClaims["replicating"][number] | undefined {
  const parts = workflowId.split("/");
  const [repository, digest] = [parts.slice(1, -1).join("/"), parts.at(-1)!];
  return isRepository(repository) && isDigest(digest) ? { repository, digest } : undefined;
}
