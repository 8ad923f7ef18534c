import { setTimeout as sleep } from "node:timers/promises";
import type { BuildLogEntry } from "../../builder/build-log.ts";
import { deferred } from "../../config/deferred.ts";
import type { RunOutcome } from "../control-plane/run-outcome.ts";
import { quietRenderer, type Renderer } from "../render/renderer.ts";
import type { Interrupts } from "./interrupts.ts";
import type { RunHandle } from "./run-handle.ts";

export type FollowEnd =
  | { readonly kind: "ended"; readonly outcome: RunOutcome }
  | { readonly kind: "detached" }
  | { readonly kind: "wait expired" };

export type FollowOptions = {
  readonly run: RunHandle;
  readonly buildLog: (signal: AbortSignal) => AsyncIterable<BuildLogEntry>;
  readonly renderer: Renderer;
  readonly interrupts: Interrupts;
  /** how long the client waits; the run goes on */
  readonly timeoutMs?: number;
};

const firstPollMs = 150;
const slowestPollMs = 1000;
const tickMs = 100;

/** Shows a run until it ends, the user detaches, or the client's patience is over. What is shown never decides how it ended. */
export async function followRun(options: FollowOptions): Promise<FollowEnd> {
  const { run, renderer, interrupts } = options;
  const stop = new AbortController();
  // where nothing is shown, nobody is asked: each question is work for the worker that runs the deploy
  const watching = renderer === quietRenderer ? [] : show(options, stop.signal);
  try {
    const patience = options.timeoutMs === undefined ? [] : [expire(options.timeoutMs, stop.signal)];
    const ended = run.outcome(stop.signal, outageNotice(renderer)).then((outcome): FollowEnd => ({ kind: "ended", outcome }));
    const detached = aborted(interrupts.detached, stop.signal).then((): FollowEnd => ({ kind: "detached" }));
    const end = await Promise.race([ended, detached, ...patience]);
    if (end.kind === "ended") {
      const view = end.outcome.kind === "deployed" ? end.outcome.result : end.outcome.view;
      if (view !== undefined) renderer.view(view);
    }
    return end;
  } finally {
    stop.abort();
    await Promise.allSettled(watching);
    renderer.end();
  }
}

/** The run, and after its first answer its build: a section's heading comes before its lines. */
function show(options: FollowOptions, signal: AbortSignal): Promise<void>[] {
  const answered = deferred<void>();
  const polling = pollView(options, signal, () => answered.resolve()).finally(() => answered.resolve());
  return [polling, answered.promise.then(() => showBuild(options, signal)), tick(options.renderer, signal)];
}

async function pollView({ run, renderer }: FollowOptions, signal: AbortSignal, answered: () => void): Promise<void> {
  let pauseMs = firstPollMs;
  while (!signal.aborted) {
    const view = await run.view(signal);
    if (signal.aborted) return;
    if (view !== undefined) renderer.view(view);
    answered();
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    pauseMs = Math.min(slowestPollMs, Math.round(pauseMs * 1.15));
  }
}

async function showBuild({ buildLog, renderer }: FollowOptions, signal: AbortSignal): Promise<void> {
  for await (const entry of buildLog(signal)) {
    if (signal.aborted) return;
    renderer.build(entry);
  }
}

async function tick(renderer: Renderer, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(tickMs, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted) renderer.tick();
  }
}

async function expire(timeoutMs: number, signal: AbortSignal): Promise<FollowEnd> {
  await sleep(timeoutMs, undefined, { signal }).catch(() => undefined);
  return { kind: "wait expired" };
}

/** Settles when `watched` aborts, or quietly when `stop` does. */
function aborted(watched: AbortSignal, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (watched.aborted) return resolve();
    watched.addEventListener("abort", () => resolve(), { once: true });
    stop.addEventListener("abort", () => resolve(), { once: true });
  });
}

function outageNotice(renderer: Renderer): () => void {
  let told = false;
  return () => {
    if (!told) renderer.notice("Temporal does not answer; the run goes on, reconnecting");
    told = true;
  };
}
