import { setTimeout as sleep } from "node:timers/promises";
import type { BuildLogEntry } from "../../builder/build-log.ts";
import type { RunName } from "../../config/build-log-name.ts";
import type { Settings } from "../../config/settings.ts";
import type { ControlPlane } from "../control-plane/connect.ts";
import { openBuildLog } from "./log-client.ts";

const retryMs = 300;

/** The run that a workflow id stands for now. @throws when Temporal does not know or does not answer */
export async function nameRun(controlPlane: ControlPlane, workflowId: string): Promise<RunName> {
  const { runId } = await controlPlane.client.workflow.getHandle(workflowId).describe();
  return { workflowId, runId };
}

/** The build's log of that run from its beginning, until `signal`; over any outage of the control plane. */
export async function* followRunLog(
  settings: Settings,
  controlPlane: ControlPlane,
  workflowId: string,
  signal: AbortSignal,
): AsyncGenerator<BuildLogEntry> {
  while (!signal.aborted) {
    const run = await nameRun(controlPlane, workflowId).catch(() => undefined);
    if (run !== undefined) return yield* openBuildLog(settings, run).follow(signal);
    await sleep(retryMs, undefined, { signal }).catch(() => undefined);
  }
}
