import { Status } from "nice-grpc";
import { entitlements } from "../../config/entitlements.ts";
import { stripControl } from "../../config/strip-control.ts";
import { type BuildProgress, failedStep, type StepProgress } from "./progress.ts";
import type { DockerfileLine } from "./status-details.ts";

/** The Dockerfile or the source is wrong: trying again gives the same. */
export class BuildFailed extends Error {
  override readonly name = "BuildFailed";
  /** the failed step as BuildKit names it, `[build 3/4] RUN npm ci`; absent when the Dockerfile could not be read */
  readonly step: string | undefined;
  /** the last lines the step wrote, without control characters */
  readonly lastLines: readonly string[];
  readonly line: DockerfileLine | undefined;

  constructor(message: string, details: { step?: string; lastLines: readonly string[]; line?: DockerfileLine }) {
    super(message);
    this.step = details.step;
    this.lastLines = details.lastLines;
    this.line = details.line;
  }
}

/** What is asked for is nothing that this host can do: who deploys has to ask for something else. */
export class BuildRefused extends Error {
  override readonly name = "BuildRefused";
}

/** The connection to buildkitd is gone: the same build may succeed on another try. */
export class BuilderLost extends Error {
  override readonly name = "BuilderLost";
}

/** The build ended well, its image could not be exported or pushed; another try pushes what is missing. */
export class PushFailed extends Error {
  override readonly name = "PushFailed";
}

/** buildkitd could not fetch the source: it or the mirror is missing, the Dockerfile is not to blame. */
export class SourceUnavailable extends Error {
  override readonly name = "SourceUnavailable";
}

export type SolveError = BuildFailed | BuilderLost | PushFailed | SourceUnavailable;

export type SolveEvidence = {
  /** status code and text of the Solve call */
  readonly code: Status;
  readonly message: string;
  readonly line: DockerfileLine | undefined;
  readonly progress: BuildProgress;
};

/**
 * Says whose fault a failed solve is, by evidence: the vertex that failed first, and only without one the gRPC code.
 * buildkitd answers nearly everything with UNKNOWN; UNAVAILABLE without a failed vertex is made by our own side when the
 * connection breaks.
 */
export function solveError({ code, message, line, progress }: SolveEvidence): SolveError {
  const step = failedStep(progress);
  const text = firstLine(message);
  // when buildkitd ends, it cancels its own steps first
  const interrupted = step === undefined || /context canceled|no active session/.test(step.error ?? "");
  if (interrupted && isConnectionLoss(code, message)) return new BuilderLost(`Lost the builder: ${text}`);
  if (isDiskFull([message, step?.error ?? "", ...(step?.lastLines ?? [])])) return diskFull(text, step);
  // a generator's fault comes up where its document is attached
  if (message.startsWith("bundle entry "))
    return new BuildFailed(`Cannot attach what the SBOM generator made: ${text}`, { lastLines: step?.lastLines ?? [] });
  if (step?.name.startsWith("exporting ") === true || message.startsWith("failed to push "))
    return new PushFailed(`Cannot push the image: ${text}`);
  if (step?.name.includes("load remote build context") === true) return new SourceUnavailable(`Cannot fetch the source: ${text}`);
  return new BuildFailed(`${text}${notGranted(text)}`, {
    ...(step === undefined ? {} : { step: step.name }),
    lastLines: step?.lastLines ?? [],
    ...(line === undefined ? {} : { line }),
  });
}

/** A step asks for what nobody said it may have. */
function notGranted(text: string): string {
  const asked = entitlements.find((each) => text.includes(`${each} is not allowed`));
  return asked === undefined ? "" : `; deploy with --allow ${asked}, where the settings of the host allow it`;
}

const isDiskFull = (texts: readonly string[]): boolean => texts.some((text) => /no space left on device/i.test(text));

/** Wherever it happens, in a step or while layers, sources or the image are written. */
function diskFull(text: string, step: StepProgress | undefined): BuildFailed {
  const remedy =
    "the builder's disk is full: slipway builder prune frees what no build uses, builder.volumeBytes and builder.cacheBytes bound it";
  return new BuildFailed(`${text}; ${remedy}`, {
    ...(step === undefined ? {} : { step: step.name }),
    lastLines: step?.lastLines ?? [],
  });
}

function isConnectionLoss(code: Status, message: string): boolean {
  if (code === Status.UNAVAILABLE || code === Status.CANCELLED) return true;
  // RST_STREAM reaches grpc-js as INTERNAL, a builder that lost our session says so with UNKNOWN
  return (code === Status.INTERNAL && /RST_STREAM|GOAWAY/i.test(message)) || /no active session|graceful_stop/i.test(message);
}

const firstLine = (message: string): string => stripControl(message.split("\n")[0] ?? "").slice(0, 1000);
