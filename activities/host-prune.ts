import { createKeyedQueue } from "../config/keyed-queue.ts";
import { type PruneDeps, pruneHost } from "../mirror/prune/prune-host.ts";
import { surveyImages } from "../mirror/prune/survey.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { HostPruneActivities } from "./prune-types.ts";

export type HostPruneDeps = PruneDeps & {
  /** the orgs of this instance on this host */
  readonly orgs: () => Promise<readonly string[]>;
};

/** The prune of this host's images, one pass at a time whoever asks. */
export function createHostPruneActivities({ orgs, ...deps }: HostPruneDeps): HostPruneActivities {
  const inTurn = createKeyedQueue();
  return {
    surveyImages: () => withHeartbeat(async (signal) => surveyImages(deps, await orgs(), signal)),
    pruneImages: (input) =>
      withHeartbeat((signal, report) =>
        inTurn("prune", async () => {
          // who gave up while waiting for its turn removes nothing
          signal.throwIfAborted();
          return pruneHost(deps, { ...input, orgs: await orgs() }, report, signal);
        }),
      ),
  };
}
