import { stripControl } from "../../config/strip-control.ts";
import type {
  Vertex,
  VertexLog,
  VertexStatus,
  VertexWarning,
} from "../../proto/gen/github.com/moby/buildkit/api/services/control/control_pb.ts";

/** One line of a build's JSONL log. `step` numbers vertices in the order in which they were first seen, from 1. */
export type BuildEvent =
  | { readonly type: "started"; readonly step: number; readonly name: string; readonly atMs: number }
  | { readonly type: "completed"; readonly step: number; readonly name: string; readonly atMs: number; readonly durationMs: number }
  | { readonly type: "cached"; readonly step: number; readonly name: string; readonly atMs: number }
  | { readonly type: "failed"; readonly step: number; readonly name: string; readonly atMs: number; readonly error: string }
  | { readonly type: "log"; readonly step: number; readonly stream: "stdout" | "stderr"; readonly line: string; readonly atMs: number }
  | {
      readonly type: "status";
      readonly step: number;
      readonly id: string;
      readonly current: number;
      readonly total: number;
      readonly done: boolean;
      readonly atMs: number;
    }
  | { readonly type: "warning"; readonly step: number; readonly message: string; readonly line?: number };

type Partials = { readonly stdout: string; readonly stderr: string };

export type StepProgress = {
  readonly step: number;
  readonly digest: string;
  readonly name: string;
  readonly status: "waiting" | "running" | "completed" | "cached" | "failed";
  readonly startedAtMs?: number;
  readonly error?: string;
  /** the step's output, at most `lastLinesKept` lines of it */
  readonly lastLines: readonly string[];
  readonly partial: Partials;
};

/** What a solve has said so far, by vertex digest. */
export type BuildProgress = ReadonlyMap<string, StepProgress>;

export const emptyProgress: BuildProgress = new Map();

export const lastLinesKept = 30;
/** A line without an end is cut here, so that a step cannot fill the memory. */
const longestLine = 16 * 1024;

/** A `StatusResponse`, apart from its own protobuf fields. */
export type StatusMessage = {
  readonly vertexes: readonly Vertex[];
  readonly statuses: readonly VertexStatus[];
  readonly logs: readonly VertexLog[];
  readonly warnings: readonly VertexWarning[];
};

/** Folds one message of `Control.Status` into the progress, and says what is new in it. */
export function applyStatus(progress: BuildProgress, message: StatusMessage): { progress: BuildProgress; events: readonly BuildEvent[] } {
  const next = new Map(progress);
  const events: BuildEvent[] = [];
  const starts = message.vertexes.filter((vertex) => vertex.completed === undefined);
  const ends = message.vertexes.filter((vertex) => vertex.completed !== undefined);
  // a step's last lines come before its end, and its beginning before its first line
  for (const vertex of starts) applyVertex(next, vertex, events);
  for (const log of message.logs) applyLog(next, log, events);
  for (const status of message.statuses) applyTransfer(next, status, events);
  for (const vertex of ends) applyVertex(next, vertex, events);
  for (const warning of message.warnings) applyWarning(next, warning, events);
  return { progress: next, events };
}

/** Steps of the Dockerfile: neither BuildKit's own ("[internal] ...", "exporting to image") nor FROM, which does nothing by itself. */
export function countSteps(progress: BuildProgress): { steps: number; cachedSteps: number } {
  const own = [...progress.values()].filter((step) => /^\[(?!internal\]|auth\])[^\]]*\] (?!FROM )/.test(step.name));
  return { steps: own.length, cachedSteps: own.filter((step) => step.status === "cached").length };
}

/** The step that made a build fail: BuildKit then cancels those that run beside it, and these count as failed, too. */
export function failedStep(progress: BuildProgress): StepProgress | undefined {
  const failed = [...progress.values()].filter((step) => step.status === "failed");
  return failed.findLast((step) => !/context canceled/.test(step.error ?? "")) ?? failed.at(-1);
}

function stepOf(progress: BuildProgress, digest: string): StepProgress {
  return (
    progress.get(digest) ?? {
      step: progress.size + 1,
      digest,
      name: "",
      status: "waiting",
      lastLines: [],
      partial: { stdout: "", stderr: "" },
    }
  );
}

function applyVertex(progress: Map<string, StepProgress>, vertex: Vertex, events: BuildEvent[]): void {
  const known = stepOf(progress, vertex.digest);
  const name = stripControl(vertex.name) || known.name;
  const startedAtMs = known.startedAtMs ?? toMs(vertex.started);
  const current: StepProgress = { ...known, name, ...(startedAtMs === undefined ? {} : { startedAtMs }) };
  progress.set(vertex.digest, current);
  if (startedAtMs === undefined || isOver(known)) return;
  if (known.status === "waiting") {
    progress.set(vertex.digest, { ...current, status: "running" });
    events.push({ type: "started", step: known.step, name, atMs: startedAtMs });
  }
  const completedAtMs = toMs(vertex.completed);
  if (completedAtMs !== undefined) endStep(progress, vertex, completedAtMs, events);
}

const isOver = (step: StepProgress): boolean => step.status !== "waiting" && step.status !== "running";

function endStep(progress: Map<string, StepProgress>, vertex: Vertex, atMs: number, events: BuildEvent[]): void {
  flushPartials(progress, vertex.digest, atMs, events);
  const { step, name, startedAtMs = atMs, ...rest } = stepOf(progress, vertex.digest);
  const status = vertex.error !== "" ? "failed" : vertex.cached ? "cached" : "completed";
  const error = stripControl(vertex.error);
  progress.set(vertex.digest, { ...rest, step, name, startedAtMs, status, ...(status === "failed" ? { error } : {}) });
  if (status === "failed") events.push({ type: status, step, name, atMs, error });
  else if (status === "cached") events.push({ type: status, step, name, atMs });
  else events.push({ type: status, step, name, atMs, durationMs: Math.max(0, atMs - startedAtMs) });
}

function applyLog(progress: Map<string, StepProgress>, log: VertexLog, events: BuildEvent[]): void {
  const known = stepOf(progress, log.vertex);
  const stream = log.stream === 2n ? "stderr" : "stdout";
  // latin1 keeps bytes apart until a line is whole: a message may end inside a UTF-8 sequence
  const lines = (known.partial[stream] + Buffer.from(log.msg).toString("latin1")).split("\n");
  const rest = lines.pop() ?? "";
  if (rest.length > longestLine) lines.push(rest);
  progress.set(log.vertex, { ...known, partial: { ...known.partial, [stream]: rest.length > longestLine ? "" : rest } });
  for (const line of lines) addLine(progress, log.vertex, stream, line, toMs(log.timestamp) ?? 0, events);
}

function flushPartials(progress: Map<string, StepProgress>, digest: string, atMs: number, events: BuildEvent[]): void {
  const { partial } = stepOf(progress, digest);
  for (const stream of ["stdout", "stderr"] as const) {
    if (partial[stream] !== "") addLine(progress, digest, stream, partial[stream], atMs, events);
  }
  progress.set(digest, { ...stepOf(progress, digest), partial: { stdout: "", stderr: "" } });
}

function addLine(
  progress: Map<string, StepProgress>,
  digest: string,
  stream: "stdout" | "stderr",
  raw: string,
  atMs: number,
  events: BuildEvent[],
): void {
  const known = stepOf(progress, digest);
  const line = stripControl(Buffer.from(raw, "latin1").toString("utf8"));
  progress.set(digest, { ...known, lastLines: [...known.lastLines, line].slice(-lastLinesKept) });
  events.push({ type: "log", step: known.step, stream, line, atMs });
}

function applyTransfer(progress: BuildProgress, status: VertexStatus, events: BuildEvent[]): void {
  events.push({
    type: "status",
    step: stepOf(progress, status.vertex).step,
    id: stripControl(status.ID),
    current: Number(status.current),
    total: Number(status.total),
    done: status.completed !== undefined,
    atMs: toMs(status.timestamp) ?? 0,
  });
}

function applyWarning(progress: BuildProgress, warning: VertexWarning, events: BuildEvent[]): void {
  const line = warning.ranges[0]?.start?.line;
  const message = stripControl(Buffer.from(warning.short).toString("utf8"));
  events.push({ type: "warning", step: stepOf(progress, warning.vertex).step, message, ...(line === undefined ? {} : { line }) });
}

function toMs(time: { seconds: bigint; nanos: number } | undefined): number | undefined {
  return time === undefined ? undefined : Number(time.seconds) * 1000 + Math.round(time.nanos / 1e6);
}
