import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inject } from "vitest";
import { readyFile } from "../../config/ready.ts";
import type { Settings } from "../../config/settings.ts";
import { type MirrorAdmin, createMirrorAdmin } from "../../mirror/admin-client.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { imageHost } from "./mirror-harness.ts";
import { makeOwnedDir, removeOwnedDir, tieToDir } from "./owned-dir.ts";

export type MirrorProcess = AsyncDisposable & {
  readonly settings: Settings;
  readonly admin: MirrorAdmin;
  /** Answers the exit code, or undefined when a signal ended it. */
  stop(signal: "SIGTERM" | "SIGKILL"): Promise<number | undefined>;
  /** Resolves when it serves; rejects with its log when it ends before. */
  start(): Promise<void>;
  log(): Promise<string>;
};

/** The process `mirror` as `slipway up` would start it, with settings and folders of its own. */
export async function createMirrorProcess(containerdSocket = inject("containerdSocket")): Promise<MirrorProcess> {
  const dir = await makeOwnedDir();
  const runDir = path.join(dir, "run");
  const settings = {
    instance: "0123abcd",
    dataDir: path.join(dir, "data"),
    runDir,
    hostId: "test",
    defaultOrg: "test",
    tools: { binDir: inject("toolsBinDir"), shareDir: dir },
    temporal: { address: "127.0.0.1:9", namespace: "default", uiUrl: "http://127.0.0.1:9" },
    s3: {
      endpoint: "http://127.0.0.1:9",
      region: "us-east-1",
      bucket: "none",
      accessKeyId: "none",
      secretAccessKey: "none",
      forcePathStyle: true,
    },
    registry: { url: "http://127.0.0.1:9", listen: { host: "127.0.0.1", port: 9 }, imageHost },
    containerd: { socket: containerdSocket, managed: false, snapshotter: "overlayfs" },
    mirror: { port: await anyFreePort(), adminSocket: path.join(runDir, "mirror.sock"), publicFallback: false },
    network: { ipv4Pool: "10.99.0.0/16", ipv6Pool: "fd00:99::/48" },
    router: { adminSocket: path.join(runDir, "router.sock"), listenHost: "127.0.0.1", firstPort: 9 },
    logs: { listen: { host: "127.0.0.1", port: 9 } },
    builder: { idleTimeoutMs: 1000, memoryMb: 512, cpus: 1 },
  } satisfies Settings;
  const file = path.join(dir, "settings.json");
  await writeFile(file, JSON.stringify(settings));
  const logFile = path.join(dir, "mirror.log");
  let child: ChildProcess | undefined;

  async function stop(signal: "SIGTERM" | "SIGKILL"): Promise<number | undefined> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? undefined;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code ?? undefined;
  }
  return {
    settings,
    admin: createMirrorAdmin(settings.mirror.adminSocket),
    stop,
    log: () => readFile(logFile, "utf8"),
    async start() {
      await rm(readyFile(runDir, "mirror"), { force: true });
      const main = path.resolve(import.meta.dirname, "../../mirror/main.ts");
      child = spawn("sh", ["-c", 'exec "$0" "$1" >>"$2" 2>&1', process.execPath, main, logFile], {
        env: { ...process.env, SLIPWAY_SETTINGS: file },
        stdio: "ignore",
      });
      await tieToDir(dir, "mirror", child.pid);
      while (!existsSync(readyFile(runDir, "mirror"))) {
        if (child.exitCode !== null) throw new Error(await readFile(logFile, "utf8"));
        await sleep(20);
      }
    },
    async [Symbol.asyncDispose]() {
      await stop("SIGKILL");
      await removeOwnedDir(dir);
    },
  };
}
