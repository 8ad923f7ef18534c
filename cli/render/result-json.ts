import type { ReplicationView, RunView } from "../../workflows/types.ts";
import type { RunOutcome } from "../control-plane/run-outcome.ts";
import { machineJson } from "./machine-json.ts";
import { presentableLine } from "../../config/strip-control.ts";

export type ResultContext = {
  readonly workflowId: string;
  readonly app: string;
  readonly ui: string;
  readonly replication?: ReplicationView;
  /** what this command uploaded for the run */
  readonly upload?: UploadedBytes;
};

/** Of a source's tar: how much there is, and how much of it had to be sent. */
export type UploadedBytes = { readonly sizeBytes: number; readonly sentBytes: number };

/** The result of a run as JSON, schema version 1. What is not known is left out, never made up. */
export function resultJson(outcome: RunOutcome, context: ResultContext): Record<string, unknown> {
  const view = outcome.kind === "deployed" ? outcome.result : outcome.view;
  return {
    schema_version: 1,
    workflow_id: context.workflowId,
    ...(view === undefined ? {} : { run_id: view.runId }),
    app: context.app,
    status: view?.status ?? "failed",
    changed: outcome.kind === "deployed" && outcome.result.changed,
    ...(view === undefined ? {} : viewJson(view)),
    ...(context.upload === undefined ? {} : { upload: { sent_bytes: context.upload.sentBytes, total_bytes: context.upload.sizeBytes } }),
    ...(context.replication === undefined ? {} : { replication: replicationJson(context.replication) }),
    ...(outcome.kind === "failed" ? { error: errorJson(outcome) } : {}),
    links: { ui: context.ui },
  };
}

/** The answer of the `run` query, in JSON's names. */
export function viewJson(view: RunView): Record<string, unknown> {
  return {
    ...(view.version === undefined
      ? {}
      : { release: { version: view.version, ...(view.previousVersion === undefined ? {} : { previous: view.previousVersion }) } }),
    ...(view.image === undefined ? {} : { image: { ref: view.image.name, digest: view.image.digest, size_bytes: view.image.sizeBytes } }),
    ...(view.url === undefined ? {} : { url: view.url }),
    machines: view.machines.map(machineJson),
    steps: view.steps.map((step) => ({
      name: step.name,
      status: step.status,
      ...(step.startedAtMs === undefined ? {} : { started_at: new Date(step.startedAtMs).toISOString() }),
      ...(step.durationMs === undefined ? {} : { duration_ms: step.durationMs }),
    })),
  };
}

export function replicationJson(view: ReplicationView): Record<string, unknown> {
  return {
    status: view.status,
    attempts: view.attempts,
    sent_bytes: view.sentBytes,
    ...(view.totalBytes === undefined ? {} : { total_bytes: view.totalBytes }),
    ...(view.nextAttemptAtMs === undefined ? {} : { next_attempt_at: new Date(view.nextAttemptAtMs).toISOString() }),
    ...(view.lastError === undefined ? {} : { last_error: presentableLine(view.lastError) }),
  };
}

function errorJson(outcome: Extract<RunOutcome, { kind: "failed" }>): Record<string, unknown> {
  const error = outcome.view?.error;
  return {
    code: outcome.code,
    message: presentableLine(outcome.message),
    ...(error === undefined
      ? {}
      : { stage: error.stage, retryable: error.retryable, serving: error.serving, log_tail: error.logTail.map(presentableLine) }),
  };
}
