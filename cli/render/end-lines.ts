import { formatDurationMs } from "../../config/duration.ts";
import type { DeployError, ReplicationView, RunView } from "../../workflows/types.ts";
import { stateOf } from "./step-lines.ts";
import { presentableLine } from "../../config/strip-control.ts";
import { sizeOf, tableLines } from "./table.ts";

/** The end of a run that went well: steps with durations, digest, machines, replication, url. */
export function summaryLines(view: RunView, options: { changed: boolean; replication?: ReplicationView }): string[] {
  const steps = view.steps.map((step) => [step.name, step.status, step.durationMs === undefined ? "" : formatDurationMs(step.durationMs)]);
  const totalMs = view.steps.reduce((sum, step) => sum + (step.durationMs ?? 0), 0);
  const facts: [string, string][] = [["release", releaseOf(view, options.changed)]];
  if (view.image !== undefined) facts.push(["image", `${view.image.digest} (${sizeOf(view.image.sizeBytes)})`]);
  for (const machine of view.machines) facts.push(["machine", `${machine.id} on ${machine.host}: ${stateOf(machine)}`]);
  if (options.replication !== undefined) facts.push(["replication", replicationText(options.replication)]);
  if (view.url !== undefined) facts.push(["url", view.url]);
  const width = Math.max(...facts.map(([name]) => name.length));
  return [
    ...tableLines(["STEP", "STATUS", "TIME"], [...steps, ["total", view.status, formatDurationMs(totalMs)]]),
    "",
    ...facts.map(([name, value]) => `${`${name}:`.padEnd(width + 1)} ${value}`),
  ];
}

export function replicationText(view: ReplicationView): string {
  const error = view.lastError === undefined || view.status === "durable" ? "" : `: ${presentableLine(view.lastError)}`;
  return view.status === "retrying" ? `retrying (attempt ${view.attempts}${error})` : `${view.status}${error}`;
}

/** `web v3 sha256:…`: what stdout holds. */
export function resultLine(view: RunView): string {
  return [
    view.app,
    ...(view.version === undefined ? [] : [`v${view.version}`]),
    ...(view.image === undefined ? [] : [view.image.digest]),
  ].join(" ");
}

function releaseOf(view: RunView, changed: boolean): string {
  const version = view.version === undefined ? view.app : `${view.app} v${view.version}`;
  if (!changed) return `${version} (nothing to change)`;
  return view.previousVersion === undefined ? version : `${version}, replaces v${view.previousVersion}`;
}

const shownLogLines = 20;

export type FailureText = {
  readonly message: string;
  readonly code: string;
  readonly error?: DeployError;
  readonly ui: string;
  readonly workflowId: string;
};

/** What went wrong, where, what serves now, the last words of what failed, and one thing to do. */
export function failureLines(failure: FailureText): string[] {
  const { error } = failure;
  const tail = (error?.logTail ?? []).slice(-shownLogLines).map((line) => `  | ${presentableLine(line)}`);
  return [
    `Error: ${presentableLine(failure.message)}`,
    ...(error === undefined ? [] : [`Stage: ${error.stage}`]),
    `Code: ${failure.code}`,
    ...(error === undefined ? [] : [`Serving: ${presentableLine(error.serving)}`]),
    ...(tail.length === 0 ? [] : [`Last ${tail.length} log lines:`, ...tail]),
    `Try: ${adviceFor(failure.code, failure.workflowId)}`,
    `Run: ${failure.ui}`,
  ];
}

function adviceFor(code: string, workflowId: string): string {
  switch (code) {
    case "BUILD_FAILED":
      return `slipway runs logs ${workflowId}`;
    case "DEPLOY_UNHEALTHY":
    case "ROLLOUT_FAILED":
      return "slipway status, then deploy again once the app answers its check";
    case "SUPERSEDED":
      return "slipway watch (follows the run that took over)";
    case "CANCELLED":
    case "IMAGE_FAILED":
      return "slipway deploy again: what was built is reused";
    case "BUILDER_UNAVAILABLE":
      return "slipway doctor";
    case "CONFIG_INVALID":
      return "correct slipway.toml or the options and deploy again";
    default:
      return `slipway runs show ${workflowId}`;
  }
}
