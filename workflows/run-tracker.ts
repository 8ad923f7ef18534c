import { setCurrentDetails, setHandler, upsertSearchAttributes, workflowInfo } from "@temporalio/workflow";
import { toDeployError } from "./deploy-error.ts";
import { stageAttribute } from "./search-attributes.ts";
import { runQuery } from "./messages.ts";
import { currentStage, newRun, stepEnded, stepStarted, toDetails } from "./run-view.ts";
import type { GrantedTurn } from "./turn.ts";
import type { DeployInput, DeployResult, DeployStage, MachineView, Release, RunView } from "./types.ts";

/** The stages that take long enough to be searched for: each update is a write that the next step waits for. */
const searchedStages: ReadonlySet<DeployStage> = new Set(["build", "rollout"]);

/** Keeps the run's view, which the `run` query, the Temporal UI and the result all show. */
export function trackRun(input: DeployInput) {
  const { workflowId, runId } = workflowInfo();
  let run = newRun(input, { workflowId, runId }, Date.now());
  let serving = "what served before: this run changed no machine";
  setHandler(runQuery, () => run);

  function update(next: RunView): RunView {
    run = next;
    setCurrentDetails(toDetails(run));
    return run;
  }

  function failedWith(failure: unknown, status: RunView["status"]): RunView {
    const stage = currentStage(run);
    const ended = stepEnded(run, stage, "failed", Date.now());
    return update({ ...ended, status, error: toDeployError(failure, stage, serving) });
  }

  return {
    view: () => run,
    async step<T>(name: DeployStage, work: () => Promise<T>): Promise<T> {
      update(stepStarted(run, name, Date.now()));
      if (searchedStages.has(name)) upsertSearchAttributes([{ key: stageAttribute, value: name }]);
      const result = await work();
      update(stepEnded(run, name, "done", Date.now()));
      return result;
    },
    placed: (host: string) => update({ ...run, host }),
    verified: (image: NonNullable<RunView["image"]>) => update({ ...run, image }),
    replicating: (replicationWorkflowId: string) => update({ ...run, replicationWorkflowId }),
    queued: () => update({ ...run, status: "queued" }),
    rollingOut(granted: GrantedTurn) {
      const previousVersion = granted.current?.version;
      serving = previousVersion === undefined ? "nothing: this app has no earlier release" : `v${previousVersion}, as before`;
      update({ ...run, status: "rolling out", version: granted.version, ...(previousVersion === undefined ? {} : { previousVersion }) });
    },
    live(machines: readonly MachineView[], url: string | undefined): DeployResult {
      update({ ...run, status: "live", machines, ...(url === undefined ? {} : { url }) });
      return { ...run, changed: true };
    },
    foundEarlier(release: Release): DeployResult {
      update({ ...run, status: "live", version: release.version, steps: run.steps.map((step) => ({ ...step, status: "skipped" })) });
      return { ...run, changed: false };
    },
    failed: (failure: unknown) => failedWith(failure, "failed"),
    cancelled: (failure: unknown) => failedWith(failure, "cancelled"),
    superseded(message: string): RunView {
      const stage = currentStage(run);
      const error = {
        code: "SUPERSEDED",
        stage,
        message,
        retryable: false,
        logTail: [],
        serving: "the newer run's release, or the one before it",
      } as const;
      return update({ ...stepEnded(run, stage, "failed", Date.now()), status: "superseded", error });
    },
  };
}

export type RunTracker = ReturnType<typeof trackRun>;
