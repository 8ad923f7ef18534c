import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { inject } from "vitest";
import { openContainerd } from "../../containerd/client.ts";
import { type ContainerdRelease, containerdCommand, containerdConfigOf } from "./containerd-release.ts";
import { containerdSocketIn, makeOwnedDir, removeOwnedDir, tieToDir } from "./owned-dir.ts";

const exec = promisify(execFile);

export type OwnContainerd = AsyncDisposable & {
  readonly socket: string;
  readonly configFile: string;
  /** content and snapshots are below */
  readonly root: string;
  /** Ends it with SIGKILL and starts it again over the same files. */
  killAndStart(): Promise<void>;
  /** Stops it in its tracks, until the disposal of what this answers. */
  pause(): Disposable;
};

export type OwnContainerdOptions = {
  readonly sharing?: "isolated" | "shared";
  /** a disk of its own of that size, in memory; absent: the host's */
  readonly diskBytes?: number;
  /** absent: those of the test run */
  readonly toolsBinDir?: string;
  readonly release?: ContainerdRelease;
};

/** A containerd of the test's own, of the run's release, ended and gone with its files at the scope's end. */
export async function startContainerd({ sharing = "isolated", diskBytes, ...tools }: OwnContainerdOptions = {}): Promise<OwnContainerd> {
  const binDir = tools.toolsBinDir ?? inject("toolsBinDir");
  const dir = await makeOwnedDir();
  const files = { root: path.join(dir, "root"), state: path.join(dir, "state"), socket: containerdSocketIn(dir) };
  const configFile = path.join(dir, "config.toml");
  const release = tools.release ?? inject("containerdRelease");
  const config = containerdConfigOf(release, { binDir, ...files, configFile });
  if (!config.includes('"isolated"')) throw new Error("the containerd configuration does not say isolated");
  await writeFile(configFile, config.replace('"isolated"', `"${sharing}"`));
  if (diskBytes !== undefined) {
    await mkdir(files.root);
    // goes with the folder, also after a kill
    await exec("mount", ["-t", "tmpfs", "-o", `size=${diskBytes}`, "slipway-test", files.root]);
  }
  const command = containerdCommand(release, binDir);
  let daemon = await startDaemon({ dir, binDir, command, configFile, socket: files.socket });
  return {
    socket: files.socket,
    configFile,
    root: files.root,
    async killAndStart() {
      await daemon.stop("SIGKILL");
      daemon = await startDaemon({ dir, binDir, command, configFile, socket: files.socket });
    },
    pause() {
      const paused = daemon;
      paused.signal("SIGSTOP");
      return { [Symbol.dispose]: () => paused.signal("SIGCONT") };
    },
    async [Symbol.asyncDispose]() {
      await daemon.stop("SIGTERM");
      await removeOwnedDir(dir);
    },
  };
}

type Daemon = { signal(signal: "SIGSTOP" | "SIGCONT"): void; stop(signal: "SIGTERM" | "SIGKILL"): Promise<void> };

type DaemonOptions = {
  readonly dir: string;
  readonly binDir: string;
  readonly command: string;
  readonly configFile: string;
  readonly socket: string;
};

/** Resolves when it answers. */
async function startDaemon({ dir, binDir, command, configFile, socket }: DaemonOptions): Promise<Daemon> {
  const child = spawn(command, ["--config", configFile], {
    stdio: "ignore",
    env: { ...process.env, PATH: `${binDir}:${process.env.PATH}` },
  });
  const exited = once(child, "exit");
  await tieToDir(dir, "containerd", child.pid);
  await using containerd = openContainerd(socket);
  for (let tries = 0; ; tries += 1) {
    try {
      await containerd.version.version({}, { signal: AbortSignal.timeout(2_000) });
      break;
    } catch (error) {
      if (tries === 150) throw error;
      await sleep(100);
    }
  }
  return {
    signal: (signal) => void child.kill(signal),
    async stop(signal) {
      child.kill(signal);
      await exited;
    },
  };
}
