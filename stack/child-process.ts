import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identifyProcess, isRunning, type ProcessIdentity, processIdentitySchema } from "../config/process-identity.ts";
import { waitUntilReady } from "./probe.ts";
import type { ProcessSpec } from "./process-spec.ts";
import { StackError } from "./stack-error.ts";

export type ProcessFiles = { readonly pidFile: string; readonly logFile: string };

/**
 * Starts a process that outlives this one: a session of its own, its output straight into the log file, its identity in the pid file.
 * @param onExit called while this process still runs
 */
export function startProcess(spec: ProcessSpec, files: ProcessFiles, onExit: (how: string) => void = () => undefined): ProcessIdentity {
  mkdirSync(path.dirname(files.logFile), { recursive: true });
  mkdirSync(path.dirname(files.pidFile), { recursive: true });
  const [command, ...args] = spec.argv;
  const log = openSync(files.logFile, "a", 0o600);
  try {
    const child = spawn(command, args, { detached: true, env: { ...process.env, ...spec.env }, stdio: ["ignore", log, log], cwd: "/" });
    child.once("error", (error) => onExit(error.message));
    child.once("exit", (code, signal) => onExit(signal === null ? `exit code ${code}` : `signal ${signal}`));
    child.unref();
    const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
    if (identity === undefined) throw new StackError(`Cannot start ${spec.name}: "${command}" ended at once; see "${files.logFile}"`);
    writeFileSync(files.pidFile, JSON.stringify(identity), { mode: 0o600 });
    return identity;
  } finally {
    closeSync(log);
  }
}

/** The process that the pid file names, if that very process still runs. */
export function runningProcess(pidFile: string): ProcessIdentity | undefined {
  try {
    const identity = processIdentitySchema.parse(JSON.parse(readFileSync(pidFile, "utf8")));
    return isRunning(identity) ? identity : undefined;
  } catch {
    return undefined;
  }
}

/** @throws StackError with the last lines of its log when the process ends before it serves */
export async function untilReady(spec: ProcessSpec, identity: ProcessIdentity, files: ProcessFiles, signal: AbortSignal): Promise<void> {
  const check = () => {
    if (!isRunning(identity)) throw new StackError(`Cannot start ${spec.name}: it ended before it served\n${logTail(files.logFile)}`);
  };
  await waitUntilReady(spec.ready, identity.pid, check, signal);
}

/** SIGTERM, then SIGKILL after the grace time; only ever to that very process. */
export async function stopProcess(identity: ProcessIdentity, graceMs: number): Promise<void> {
  if (!sendSignal(identity, "SIGTERM")) return;
  const deadlineMs = Date.now() + graceMs;
  while (isRunning(identity)) {
    if (Date.now() > deadlineMs) sendSignal(identity, "SIGKILL");
    await sleep(20);
  }
}

export function sendSignal(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

export function forgetProcess(pidFile: string): void {
  rmSync(pidFile, { force: true });
}

export function logTail(file: string, lines = 15): string {
  try {
    return readFileSync(file, "utf8")
      .slice(-16_384)
      .trimEnd()
      .split("\n")
      .slice(-lines)
      .map((line) => `  ${line}`)
      .join("\n");
  } catch {
    return "";
  }
}
