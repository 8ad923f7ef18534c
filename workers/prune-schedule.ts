import { type Client, ScheduleAlreadyRunning, type ScheduleOptions, ScheduleOverlapPolicy } from "@temporalio/client";
import { controlTaskQueue } from "../config/paths.ts";
import { workflowIds } from "../workflows/ids.ts";
import type { PruneHostInput, PrunePolicy } from "../workflows/prune-types.ts";

export const pruneScheduleId = (host: string): string => workflowIds.pruneHost(host, false);

export type PruneScheduleOptions = {
  readonly host: string;
  readonly everyMs: number;
  readonly policy: PrunePolicy;
  readonly taskQueue?: string;
};

/**
 * Has a host's images pruned every so often. Done at each start of a control worker: what the settings say now holds; a schedule that an
 * operator paused stays paused.
 */
export async function ensurePruneSchedule(
  client: Client,
  { host, everyMs, policy, taskQueue = controlTaskQueue }: PruneScheduleOptions,
): Promise<void> {
  const scheduleId = pruneScheduleId(host);
  const input: PruneHostInput = { host, dryRun: false, policy };
  const schedule: Pick<ScheduleOptions, "spec" | "policies"> & { action: ScheduleOptions["action"] } = {
    spec: { intervals: [{ every: everyMs }] },
    action: {
      type: "startWorkflow",
      workflowType: "pruneHost",
      workflowId: scheduleId,
      taskQueue,
      args: [input],
      staticSummary: `prune the images of host ${host}`,
    },
    // a pass that was missed is made up for by the next
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: everyMs },
  };
  try {
    await client.schedule.create({ scheduleId, ...schedule });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(scheduleId).update(({ state }) => ({ ...schedule, state }));
  }
}
