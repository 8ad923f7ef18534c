import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ProcessName, readyFile } from "../../config/ready.ts";
import type { Settings } from "../../config/settings.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { removeOwnedDir, tieToDir } from "./owned-dir.ts";

export type ServiceProcess = AsyncDisposable & {
  /** Resolves when it serves; rejects with its log when it ends before. */
  start(): Promise<void>;
  /** Waits until it is gone. Answers the exit code, or undefined when a signal ended it. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<number | undefined>;
  log(): Promise<string>;
};

export type ServiceProcessOptions = {
  readonly name: ProcessName;
  readonly entry: Parameters<typeof entryPoint>[0];
  readonly settings: Settings;
  /** an owned folder, which goes with the process */
  readonly dir: string;
};

/** One of our processes, started as `slipway up` would start it. */
export async function createServiceProcess({ name, entry, settings, dir }: ServiceProcessOptions): Promise<ServiceProcess> {
  const [settingsFile, logFile] = [path.join(dir, "settings.json"), path.join(dir, `${name}.log`)];
  await writeFile(settingsFile, JSON.stringify(settings), { mode: 0o600 });
  const log = () => readFile(logFile, "utf8");
  let child: ChildProcess | undefined;

  const stop = async (signal: "SIGTERM" | "SIGKILL"): Promise<number | undefined> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? undefined;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code ?? undefined;
  };
  return {
    stop,
    log,
    start: async () => {
      const [command, ...args] = entryPoint(entry);
      await rm(readyFile(settings.runDir, name), { force: true });
      child = spawn("/bin/sh", ["-c", 'exec "$@" >>"$LOG" 2>&1', "sh", command, ...args], {
        env: { ...process.env, SLIPWAY_SETTINGS: settingsFile, LOG: logFile },
        stdio: "ignore",
      });
      await tieToDir(dir, name, child.pid);
      while (!existsSync(readyFile(settings.runDir, name))) {
        if (child.exitCode !== null) throw new Error(`${name} ended:\n${await log()}`);
        await sleep(20);
      }
    },
    [Symbol.asyncDispose]: async () => {
      await stop("SIGTERM");
      await removeOwnedDir(dir);
    },
  };
}
