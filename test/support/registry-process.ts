import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readyFile } from "../../config/ready.ts";
import type { Settings } from "../../config/settings.ts";
import { defaultSettings, preferredPorts } from "../../stack/default-settings.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir, tieToDir } from "./owned-dir.ts";

export type RegistryProcess = AsyncDisposable & {
  readonly url: string;
  readonly settings: Settings;
  log(): Promise<string>;
  start(): Promise<void>;
  /** Waits until it is gone. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<void>;
};

export type RegistryProcessOptions = {
  readonly bucket: string;
  readonly s3: { readonly endpoint: string; readonly region: string; readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly toolsBinDir: string;
  readonly amend?: (registry: Settings["registry"]) => Settings["registry"];
};

/** The process `registry` as `slipway up` would start it, on a free port, over a bucket of the caller's. */
export async function createRegistryProcess({ bucket, s3, toolsBinDir, amend }: RegistryProcessOptions): Promise<RegistryProcess> {
  const dir = await makeOwnedDir();
  const settings: Settings = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "test",
    tools: { binDir: toolsBinDir, shareDir: dir },
    ports: { ...preferredPorts, registry: await anyFreePort(), metrics: await anyFreePort() },
    s3Keys: s3,
    ipv4Pool: "10.99.0.0/16",
  });
  const { endpoint, region, accessKeyId, secretAccessKey } = s3;
  const file = path.join(dir, "settings.json");
  const amended: Settings = {
    ...settings,
    registry: amend?.(settings.registry) ?? settings.registry,
    s3: { endpoint, bucket, accessKeyId, secretAccessKey, region, forcePathStyle: true },
  };
  await writeFile(file, JSON.stringify(amended), { mode: 0o600 });
  const logFile = path.join(dir, "registry.log");
  let child: ChildProcess | undefined;

  const stop = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  };
  return {
    url: amended.registry.url,
    settings: amended,
    log: () => readFile(logFile, "utf8"),
    stop,
    start: async () => {
      const [command, ...args] = entryPoint("registry/main");
      await rm(readyFile(settings.runDir, "registry"), { force: true });
      child = spawn("/bin/sh", ["-c", 'exec "$@" >>"$LOG" 2>&1', "sh", command, ...args], {
        env: { ...process.env, SLIPWAY_SETTINGS: file, LOG: logFile },
        stdio: "ignore",
      });
      await tieToDir(dir, "registry", child.pid);
      while (!existsSync(readyFile(settings.runDir, "registry"))) {
        if (child.exitCode !== null) throw new Error(`the registry ended:\n${await readFile(logFile, "utf8")}`);
        await sleep(20);
      }
    },
    [Symbol.asyncDispose]: async () => {
      await stop("SIGTERM");
      await removeOwnedDir(dir);
    },
  };
}
