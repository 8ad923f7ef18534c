import { type Client, ScheduleAlreadyRunning, type ScheduleOptions, ScheduleOverlapPolicy } from "@temporalio/client";
import { controlTaskQueue } from "../config/paths.ts";
import type { CollectGarbageInput } from "../workflows/types.ts";

export const garbageScheduleId = "registry/collect-garbage";

/**
 * Has the registry's garbage collected every so often. Done at each start of a control worker: what the settings say now holds; a
 * schedule that an operator paused stays paused.
 */
export async function ensureGarbageSchedule(
  client: Client,
  { everyMs, graceMs, taskQueue = controlTaskQueue }: { readonly everyMs: number; readonly graceMs: number; readonly taskQueue?: string },
): Promise<void> {
  const input: CollectGarbageInput = { dryRun: false, graceMs };
  const schedule: Pick<ScheduleOptions, "spec" | "policies"> & { action: ScheduleOptions["action"] } = {
    spec: { intervals: [{ every: everyMs }] },
    action: {
      type: "startWorkflow",
      workflowType: "collectGarbage",
      workflowId: garbageScheduleId,
      taskQueue,
      args: [input],
      staticSummary: "registry: collect garbage",
    },
    // a pass that was missed is made up for by the next
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: everyMs },
  };
  try {
    await client.schedule.create({ scheduleId: garbageScheduleId, ...schedule });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(garbageScheduleId).update(({ state }) => ({ ...schedule, state }));
  }
}
