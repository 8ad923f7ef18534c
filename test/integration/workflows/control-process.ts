import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inject } from "vitest";
import { readyFile } from "../../../config/ready.ts";
import type { Settings } from "../../../config/settings.ts";
import { defaultSettings, preferredPorts } from "../../../stack/default-settings.ts";
import { entryPoint } from "../../../stack/entry-point.ts";
import { makeOwnedDir, removeOwnedDir, tieToDir } from "../../support/owned-dir.ts";

export type ControlProcess = AsyncDisposable & {
  /** Resolves when it serves; rejects with its log when it ends before. */
  start(): Promise<void>;
  /** Waits until it is gone. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
};

/** The process `control` as `slipway up` would start it, on the Temporal of the run, over a bucket of the test's. */
export async function createControlProcess(bucket: string, endpoint = inject("s3").endpoint): Promise<ControlProcess> {
  const dir = await makeOwnedDir();
  const settings = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "test",
    tools: { binDir: inject("toolsBinDir"), shareDir: dir },
    ports: preferredPorts,
    s3Keys: inject("s3"),
    ipv4Pool: "10.99.0.0/16",
  });
  const amended: Settings = {
    ...settings,
    temporal: { ...settings.temporal, address: inject("temporalAddress") },
    s3: { ...settings.s3, region: inject("s3").region, endpoint, bucket },
  };
  const [settingsFile, logFile] = [path.join(dir, "settings.json"), path.join(dir, "control.log")];
  await writeFile(settingsFile, JSON.stringify(amended), { mode: 0o600 });
  let child: ChildProcess | undefined;

  const stop = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  };
  return {
    stop,
    start: async () => {
      const [command, ...args] = entryPoint("workers/control");
      await rm(readyFile(settings.runDir, "control"), { force: true });
      child = spawn("/bin/sh", ["-c", 'exec "$@" >>"$LOG" 2>&1', "sh", command, ...args], {
        env: { ...process.env, SLIPWAY_SETTINGS: settingsFile, LOG: logFile },
        stdio: "ignore",
      });
      await tieToDir(dir, "control", child.pid);
      while (!existsSync(readyFile(settings.runDir, "control"))) {
        if (child.exitCode !== null) throw new Error(`control ended:\n${await readFile(logFile, "utf8")}`);
        await sleep(20);
      }
    },
    [Symbol.asyncDispose]: async () => {
      await stop("SIGTERM");
      await removeOwnedDir(dir);
    },
  };
}
