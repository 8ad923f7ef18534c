import { copyFile, stat, truncate } from "node:fs/promises";
import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { isRunning, type ProcessIdentity, thisProcess } from "../config/process-identity.ts";
import type { ProcessName } from "../config/ready.ts";
import type { Settings } from "../config/settings.ts";
import { forgetProcess, runningProcess, startProcess, stopProcess } from "./child-process.ts";
import { stackFiles } from "./files.ts";
import { isReady } from "./probe.ts";
import type { ProcessSpec } from "./process-spec.ts";
import type { Revisions } from "./revision.ts";
import { stopInOrder } from "./stop-order.ts";
import {
  fingerprint,
  readSupervisorState,
  specFingerprint,
  type Supervised,
  type SupervisorState,
  writeSupervisorState,
} from "./supervisor-state.ts";

const maxLogBytes = 16 * 1024 * 1024;
const wellAfterMs = 10_000;

export type Supervisor = {
  /** settles when `leave` or `stop` was called and has done its work */
  readonly ended: Promise<void>;
  /** ends supervising; the processes go on */
  readonly leave: () => void;
  /** ends every process, those that depend on others first */
  readonly stop: () => void;
};

/**
 * Keeps every process of the plan running. A process that an earlier supervisor left behind is taken over when it runs from the same
 * spec, and replaced otherwise: processes do not die with their supervisor.
 */
export function supervise(settings: Settings, specs: readonly ProcessSpec[], revisionOf: Revisions): Supervisor {
  const leaving = new AbortController();
  let stopping = false;
  const state = takeOverState(settings, specs, revisionOf);
  const ready = new Set<ProcessName>();
  const context: Context = { settings, state, ready, revisionOf, planned: new Set(specs.map(({ name }) => name)) };

  announceSupervisor(settings);
  writeSupervisorState(settings, state);
  const work = [...specs.map((spec) => keepRunning(spec, context, leaving.signal)), rotateLogs(settings, specs, leaving.signal)];
  const ended = Promise.all(work.map(async (promise) => await untilAborted(promise, leaving.signal))).then(async () => {
    if (stopping) await stopInOrder(settings, specs);
    forgetProcess(stackFiles.process(settings, "supervisor").pidFile);
  });
  return {
    ended,
    leave: () => leaving.abort(),
    stop: () => {
      stopping = true;
      leaving.abort();
    },
  };
}

type Context = {
  readonly settings: Settings;
  readonly state: SupervisorState;
  readonly ready: Set<ProcessName>;
  readonly planned: ReadonlySet<ProcessName>;
  readonly revisionOf: Revisions;
};

export function planFingerprint(specs: readonly ProcessSpec[], revisionOf: Revisions): string {
  return fingerprint(specs.map((spec) => [spec.name, specFingerprint(spec, revisionOf(spec))]));
}

function takeOverState(settings: Settings, specs: readonly ProcessSpec[], revisionOf: Revisions): SupervisorState {
  return { plan: planFingerprint(specs, revisionOf), processes: { ...readSupervisorState(settings)?.processes } };
}

function announceSupervisor(settings: Settings): void {
  const { pidFile } = stackFiles.process(settings, "supervisor");
  mkdirSync(settings.runDir, { recursive: true, mode: 0o711 });
  mkdirSync(`${settings.runDir}/pids`, { recursive: true });
  writeFileSync(pidFile, JSON.stringify(thisProcess()), { mode: 0o600 });
}

async function keepRunning(spec: ProcessSpec, context: Context, signal: AbortSignal): Promise<void> {
  await untilAll(spec.after, context.ready, signal);
  let record = await adoptOrStart(spec, context, signal);
  for (;;) {
    const end = await untilEnd(spec, context, record, signal);
    signal.throwIfAborted();
    context.ready.delete(spec.name);
    const failures = Date.now() - record.supervised.startedAtMs > wellAfterMs ? 1 : record.supervised.failures + 1;
    const restarts = record.supervised.restarts + 1;
    note(spec, context, { ...record.supervised, failures, restarts, lastEnd: end });
    log(`${spec.name} ended (${end}); starting it again`);
    await sleep(backoffMs(failures), undefined, { signal });
    record = start(spec, context, { failures, restarts, lastEnd: end });
  }
}

/** 0.1 s after the first end, up to 10 s when it does not come up at all. */
export function backoffMs(failures: number): number {
  return Math.min(100 * 2 ** Math.max(0, failures - 1), 10_000);
}

type Running = { readonly identity: ProcessIdentity | undefined; readonly supervised: Supervised; readonly end: () => string };

async function adoptOrStart(spec: ProcessSpec, context: Context, signal: AbortSignal): Promise<Running> {
  const { pidFile } = stackFiles.process(context.settings, spec.name);
  const known = context.state.processes[spec.name];
  const identity = runningProcess(pidFile);
  const wanted = specFingerprint(spec, context.revisionOf(spec));
  if (identity !== undefined && known?.fingerprint === wanted) {
    log(`${spec.name} runs already with pid ${identity.pid}`);
    return { identity, supervised: known, end: () => "it ended" };
  }
  if (identity !== undefined) await stopProcess(identity, spec.stopTimeoutMs);
  signal.throwIfAborted();
  return start(spec, context, { failures: 0, restarts: 0 });
}

function start(spec: ProcessSpec, context: Context, past: Pick<Supervised, "failures" | "restarts" | "lastEnd">): Running {
  const supervised = { ...past, fingerprint: specFingerprint(spec, context.revisionOf(spec)), startedAtMs: Date.now() };
  note(spec, context, supervised);
  let how = "it ended";
  try {
    const identity = startProcess(spec, stackFiles.process(context.settings, spec.name), (end) => (how = end));
    return { identity, supervised, end: () => how };
  } catch (error) {
    const message = (error as Error).message;
    return { identity: undefined, supervised, end: () => message };
  }
}

/** Watches by looking: that works for a process that another supervisor started, too. */
async function untilEnd(spec: ProcessSpec, context: Context, running: Running, signal: AbortSignal): Promise<string> {
  const { identity } = running;
  while (identity !== undefined && isRunning(identity)) {
    if (!context.ready.has(spec.name) && (await isReady(spec.ready, identity.pid))) context.ready.add(spec.name);
    await sleep(context.ready.has(spec.name) ? 200 : 25, undefined, { signal });
  }
  return running.end();
}

async function untilAll(names: readonly ProcessName[], ready: ReadonlySet<ProcessName>, signal: AbortSignal): Promise<void> {
  while (!names.every((name) => ready.has(name))) await sleep(20, undefined, { signal });
}

function note(spec: ProcessSpec, { settings, state }: Context, supervised: Supervised): void {
  state.processes[spec.name] = supervised;
  writeSupervisorState(settings, state);
}

/** By copy and truncate: the processes hold their log open, in append mode. */
async function rotateLogs(settings: Settings, specs: readonly ProcessSpec[], signal: AbortSignal): Promise<void> {
  for (;;) {
    await sleep(10_000, undefined, { signal });
    for (const { name } of specs) {
      const { logFile } = stackFiles.process(settings, name);
      const found = await stat(logFile).catch(() => undefined);
      if (found === undefined || found.size <= maxLogBytes) continue;
      await copyFile(logFile, `${logFile}.1`);
      await truncate(logFile, 0);
    }
  }
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  try {
    await promise;
  } catch (error) {
    if (!signal.aborted) log(`supervisor: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

function log(line: string): void {
  console.log(JSON.stringify({ time: new Date().toISOString(), msg: line }));
}
