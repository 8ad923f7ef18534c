import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { tieToDir } from "../test/support/owned-dir.ts";

export type StartedProcess = AsyncDisposable & { readonly pid: number };

export type ProcessToStart = {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  /** an owned folder: takes the log, and ends the process with itself if its owner is killed */
  readonly dir: string;
  readonly isReady: () => Promise<boolean>;
};

const readyTimeoutMs = 30_000;
const pollMs = 10;
const stopTimeoutMs = 15_000;

/** Resolves once the process serves. @throws Error with its log when it does not. */
export async function startProcess({ name, argv, env = {}, dir, isReady }: ProcessToStart): Promise<StartedProcess> {
  const logFile = path.join(dir, `${name}.log`);
  const log = openSync(logFile, "a");
  const child = spawn(argv[0], argv.slice(1), { env: { ...process.env, ...env }, stdio: ["ignore", log, log], cwd: dir });
  closeSync(log);
  await tieToDir(dir, name, child.pid);
  const deadlineMs = Date.now() + readyTimeoutMs;
  while (!(await isReady())) {
    if (child.exitCode === null && Date.now() < deadlineMs) await sleep(pollMs);
    else {
      await endProcess(child);
      throw new Error(`${name} does not serve:\n${await readFile(logFile, "utf8")}`);
    }
  }
  return { pid: child.pid!, [Symbol.asyncDispose]: () => endProcess(child) };
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const patience = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  await ended;
  clearTimeout(patience);
}
