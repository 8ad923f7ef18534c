import { setTimeout as sleep } from "node:timers/promises";
import type { Settings } from "../../config/settings.ts";
import type { ReplicationView } from "../../workflows/types.ts";
import type { ControlPlane } from "../control-plane/connect.ts";
import { appOf, keyOf } from "../control-plane/find-run.ts";
import { queryReplication } from "../control-plane/replication.ts";
import type { RunOutcome } from "../control-plane/run-outcome.ts";
import type { Outcome } from "../exit-codes.ts";
import { printJson, printLines, toStderr, toStdout, type OutputOptions } from "../output.ts";
import { failureLines, resultLine, summaryLines } from "../render/end-lines.ts";
import { createEventWriter, createJsonlRenderer, type EventWriter } from "../render/jsonl-renderer.ts";
import { createProgressRenderer } from "../render/progress-renderer.ts";
import { quietRenderer, type Renderer } from "../render/renderer.ts";
import { type UploadedBytes, resultJson } from "../render/result-json.ts";
import { followRun } from "./follow-run.ts";
import { listenForInterrupts } from "./interrupts.ts";
import { followRunLog } from "./run-log.ts";
import { openRun } from "./run-handle.ts";

export type FollowRequest = OutputOptions & {
  readonly waitFor: "deployed" | "replicated";
  readonly timeoutMs?: number;
  /** the run had ended well before: nothing is followed and nothing changed */
  readonly finishedBefore?: boolean;
  readonly upload?: UploadedBytes;
};

/** Follows a run to its end and says how it ended: on stderr for people, on stdout the result. */
export async function followAndReport(
  settings: Settings,
  controlPlane: ControlPlane,
  workflowId: string,
  request: FollowRequest,
): Promise<Outcome> {
  const run = openRun(controlPlane, workflowId);
  const event = createEventWriter({ write: toStdout, now: Date.now }, workflowId);
  const deadlineMs = request.timeoutMs === undefined ? undefined : Date.now() + request.timeoutMs;
  using interrupts = listenForInterrupts();
  const end = await followRun({
    run,
    renderer: chooseRenderer(request, event),
    buildLog: request.finishedBefore === true ? nothing : (signal) => followRunLog(settings, controlPlane, workflowId, signal),
    interrupts,
    ...(request.timeoutMs === undefined ? {} : { timeoutMs: request.timeoutMs }),
  });
  const reattach = `slipway watch ${keyOf(workflowId)} -a ${appOf(workflowId)}`;
  if (end.kind === "wait expired") {
    toStderr(`The run goes on; re-attach: ${reattach}\n`);
    return { kind: "wait expired" };
  }
  if (end.kind === "detached") {
    toStderr(`\nDetached: the run goes on. Re-attach: ${reattach}\n`);
    if (interrupts.mayStillCancel) toStderr("Ctrl-C again within 3 s cancels the run\n");
    if ((await interrupts.decision()) === "detach") return { kind: "interrupted" };
    toStderr("Cancelling the run\n");
    await run.cancel();
    const outcome = await run.outcome(new AbortController().signal, () => undefined);
    return report(outcome, undefined);
  }
  const outcome = end.outcome;
  if (outcome.kind === "failed") return report(outcome, undefined);
  const replication = await replicationOf(controlPlane, outcome, request, deadlineMs, interrupts.detached);
  const reported = report(outcome, replication);
  if (request.waitFor === "replicated" && replication?.status !== "durable")
    return interrupts.detached.aborted ? { kind: "interrupted" } : { kind: "not replicated" };
  return reported;

  function report(outcome: RunOutcome, replication: ReplicationView | undefined): Outcome {
    const final: RunOutcome =
      outcome.kind === "deployed" && request.finishedBefore === true
        ? { kind: "deployed", result: { ...outcome.result, changed: false } }
        : outcome;
    const ui = controlPlane.uiOf(workflowId);
    const known = {
      ...(replication === undefined ? {} : { replication }),
      ...(request.upload === undefined ? {} : { upload: request.upload }),
    };
    const json = resultJson(final, { workflowId, app: appOf(workflowId), ui, ...known });
    if (request.output === "json") printJson(json);
    if (request.output === "jsonl") event("result", json);
    if (final.kind === "deployed") {
      if (request.quiet !== true && request.output !== "jsonl")
        printLines(toStderr, [
          "",
          ...summaryLines(final.result, { changed: final.result.changed, ...(replication === undefined ? {} : { replication }) }),
        ]);
      if (request.output === "text") toStdout(`${resultLine(final.result)}\n`);
      return { kind: "done" };
    }
    const error = final.view?.error;
    printLines(
      toStderr,
      failureLines({ message: final.message, code: final.code, ui, workflowId, ...(error === undefined ? {} : { error }) }),
    );
    return { kind: "failed", code: final.code };
  }
}

async function* nothing(): AsyncGenerator<never> {}

function chooseRenderer(request: OutputOptions, event: EventWriter): Renderer {
  if (request.output === "jsonl") return createJsonlRenderer(event);
  if (request.quiet === true) return quietRenderer;
  return createProgressRenderer(request);
}

const replicationPollMs = 500;

/** Where the image's replication stands; with `--wait-for replicated` once it is durable, or the patience is over. */
async function replicationOf(
  controlPlane: ControlPlane,
  outcome: Extract<RunOutcome, { kind: "deployed" }>,
  request: FollowRequest,
  deadlineMs: number | undefined,
  detached: AbortSignal,
): Promise<ReplicationView | undefined> {
  const id = outcome.result.replicationWorkflowId;
  if (id === undefined) return undefined;
  for (;;) {
    const view = await queryReplication(controlPlane, id);
    if (request.waitFor === "deployed" || view?.status === "durable" || detached.aborted) return view;
    if (deadlineMs !== undefined && Date.now() > deadlineMs) return view;
    await sleep(replicationPollMs, undefined, { signal: detached }).catch(() => undefined);
  }
}
