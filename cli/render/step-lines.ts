import { formatDurationMs } from "../../config/duration.ts";
import type { DeployStage, RunView, StepView } from "../../workflows/types.ts";

/** What each step does, in the words of the sections of a log. */
export const stageTitles: Record<DeployStage, string> = {
  wake: "Waking the builder",
  build: "Building the image",
  verify: "Verifying the image",
  queue: "Waiting for a turn",
  rollout: "Rolling out",
  record: "Recording the release",
};

/** The append-only lines for what changed between two answers of the `run` query. */
export function changedStepLines(before: RunView | undefined, after: RunView): string[] {
  const lines: string[] = [];
  for (const step of after.steps) {
    const earlier = before?.steps.find((candidate) => candidate.name === step.name);
    if (earlier?.status === step.status) {
      if (step.note !== undefined && step.note !== earlier.note && step.status === "running") lines.push(`--> ${step.note}`);
      continue;
    }
    const wasPending = earlier === undefined || earlier.status === "pending";
    if (step.status === "running" || (wasPending && step.status === "failed")) lines.push(`==> ${stageTitles[step.name]}`);
    if (step.status === "done") lines.push(`--> ${stageTitles[step.name]}: done${inTime(step)}${noteOf(step)}`);
    if (step.status === "failed") lines.push(`--> ${stageTitles[step.name]}: failed${inTime(step)}${noteOf(step)}`);
  }
  const count = after.machines.length;
  for (const [at, machine] of after.machines.entries()) {
    const state = stateOf(machine);
    const earlier = before?.machines.find((candidate) => candidate.id === machine.id);
    if (earlier === undefined || stateOf(earlier) !== state) lines.push(`--> [${at + 1}/${count}] ${machine.id} ${state}`);
  }
  return lines;
}

export const stateOf = (machine: RunView["machines"][number]): string =>
  machine.state === "running" && machine.healthy ? "healthy" : machine.state;

export const runningStep = (view: RunView): StepView | undefined => view.steps.find((step) => step.status === "running");

/** Seconds a running step has taken so far; the finished step's own duration afterwards. */
export function stepDurationMs(step: StepView, nowMs: number): number | undefined {
  return (
    step.durationMs ?? (step.status === "running" && step.startedAtMs !== undefined ? Math.max(0, nowMs - step.startedAtMs) : undefined)
  );
}

const inTime = (step: StepView): string => (step.durationMs === undefined ? "" : ` in ${formatDurationMs(step.durationMs)}`);
const noteOf = (step: StepView): string => (step.note === undefined ? "" : ` (${step.note})`);
