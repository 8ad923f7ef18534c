import type { DeployInput, DeployStage, RunView, StepStatus, StepView } from "./types.ts";
import { deployStages } from "./types.ts";

/** A run before its first step. */
export function newRun(input: DeployInput, ids: { workflowId: string; runId: string }, nowMs: number): RunView {
  return {
    workflowId: ids.workflowId,
    runId: ids.runId,
    org: input.org,
    app: input.app,
    key: input.key,
    status: "building",
    steps: deployStages.map((name): StepView => ({ name, status: "pending" })),
    startedAtMs: nowMs,
    machines: [],
  };
}

export function stepStarted(run: RunView, name: DeployStage, nowMs: number): RunView {
  return withStep(run, name, { name, status: "running", startedAtMs: nowMs });
}

export function stepEnded(run: RunView, name: DeployStage, status: StepStatus, nowMs: number, note?: string): RunView {
  const startedAtMs = run.steps.find((step) => step.name === name)?.startedAtMs ?? nowMs;
  return withStep(run, name, { name, status, startedAtMs, durationMs: nowMs - startedAtMs, ...(note === undefined ? {} : { note }) });
}

/** The stage a run is in, or failed in: the running one, else the first that has not been done. */
export function currentStage(run: RunView): DeployStage {
  const running = run.steps.find((step) => step.status === "running") ?? run.steps.find((step) => step.status === "pending");
  return running?.name ?? "record";
}

/** Markdown for the Temporal UI's "current details". */
export function toDetails(run: RunView): string {
  const steps = run.steps.map(({ name, status, durationMs, note }) => {
    const took = durationMs === undefined ? "" : ` (${(durationMs / 1000).toFixed(1)} s)`;
    return `| ${name} | ${status}${took} | ${note ?? ""} |`;
  });
  const image = run.image === undefined ? [] : [`image \`${run.image.name}\` \`${run.image.digest}\``];
  const version = run.version === undefined ? [] : [`release **v${run.version}**`];
  const failure = run.error === undefined ? [] : [`**${run.error.code}**: ${run.error.message}`, `serving: ${run.error.serving}`];
  return [`**${run.status}**`, ...version, ...image, ...failure, "", "| step | state | |", "|---|---|---|", ...steps].join("\n");
}

function withStep(run: RunView, name: DeployStage, step: StepView): RunView {
  return { ...run, steps: run.steps.map((other) => (other.name === name ? step : other)) };
}
