import { setTimeout as sleep } from "node:timers/promises";
import type { DeployResult, RunView } from "../../workflows/types.ts";
import { queryApp } from "../control-plane/apps.ts";
import type { ControlPlane } from "../control-plane/connect.ts";
import { outcomeOfError, type RunOutcome } from "../control-plane/run-outcome.ts";
import { withServing } from "../control-plane/serving.ts";
import { WorkflowNotFoundError } from "@temporalio/client";
import { CliError } from "../errors.ts";

/** A run as the CLI follows it. */
export type RunHandle = {
  readonly workflowId: string;
  /** the `run` query; undefined when nobody answers it just now */
  view(signal: AbortSignal): Promise<RunView | undefined>;
  /** waits for the end of the run, over any outage of the control plane */
  outcome(signal: AbortSignal, onOutage: () => void): Promise<RunOutcome>;
  cancel(): Promise<void>;
  terminate(reason: string): Promise<void>;
};

const queryDeadlineMs = 5000;
const outageRetryMs = 1000;

export function openRun(controlPlane: ControlPlane, workflowId: string): RunHandle {
  const { client } = controlPlane;
  const handle = client.workflow.getHandle(workflowId);
  const view = async (signal: AbortSignal): Promise<RunView | undefined> => {
    try {
      return await client.withDeadline(Date.now() + queryDeadlineMs, () =>
        client.withAbortSignal(signal, () => handle.query<RunView>("run")),
      );
    } catch {
      // a worker that is being restarted says nothing about the run
      return undefined;
    }
  };
  /** The app is asked what serves; when it does not answer, what the run knew is told. */
  const explained = async (outcome: RunOutcome): Promise<RunOutcome> => {
    if (outcome.kind !== "failed" || outcome.view?.error === undefined) return outcome;
    const { org, app } = outcome.view;
    return await queryApp(controlPlane, org, app).then(
      (state) => withServing(outcome, state),
      () => outcome,
    );
  };
  return {
    workflowId,
    view,
    async outcome(signal, onOutage) {
      for (;;) {
        signal.throwIfAborted();
        try {
          const result = (await client.withAbortSignal(signal, () => handle.result())) as DeployResult;
          return { kind: "deployed", result };
        } catch (error) {
          signal.throwIfAborted();
          const outcome = outcomeOfError(error);
          // a cancellation carries no details: the run is asked how it stood
          if (outcome?.kind === "failed" && outcome.view === undefined) {
            const last = await view(signal);
            return await explained(last === undefined ? outcome : { ...outcome, view: last });
          }
          if (outcome !== undefined) return await explained(outcome);
          if (error instanceof WorkflowNotFoundError)
            throw new CliError(`Cannot find run "${workflowId}"`, { tryCommand: "slipway runs list", cause: error });
          onOutage();
          await sleep(outageRetryMs, undefined, { signal });
        }
      }
    },
    async cancel() {
      await handle.cancel();
    },
    async terminate(reason) {
      await handle.terminate(reason);
    },
  };
}
