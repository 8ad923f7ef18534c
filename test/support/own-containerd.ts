import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inject } from "vitest";
import { openContainerd } from "../../containerd/client.ts";
import { containerdConfig } from "../../stack/engines.ts";
import { containerdSocketIn, makeOwnedDir, removeOwnedDir, tieToDir } from "./owned-dir.ts";

export type OwnContainerd = AsyncDisposable & {
  readonly socket: string;
  readonly configFile: string;
  /** Ends it with SIGKILL and starts it again over the same files. */
  killAndStart(): Promise<void>;
};

/** The releases that the mirror works with: that of the stack, and the one that distributions and clusters still have. */
export const containerdReleases = ["2.4", "1.7"] as const;
export type ContainerdRelease = (typeof containerdReleases)[number];

export type OwnContainerdOptions = { readonly sharing?: "isolated" | "shared"; readonly release?: ContainerdRelease };

/** A containerd of the test's own, ended and gone with its files at the scope's end. */
export async function startContainerd({ sharing = "isolated", release = "2.4" }: OwnContainerdOptions = {}): Promise<OwnContainerd> {
  const binDir = inject("toolsBinDir");
  const dir = await makeOwnedDir();
  const files = { root: path.join(dir, "root"), state: path.join(dir, "state"), socket: containerdSocketIn(dir) };
  const configFile = path.join(dir, "config.toml");
  const config = containerdConfig({ binDir, ...files, configFile });
  if (!config.includes('"isolated"')) throw new Error("the containerd configuration does not say isolated");
  const policy = config.replace('"isolated"', `"${sharing}"`);
  // the names of the plugins that are set are the same in both
  await writeFile(configFile, release === "1.7" ? policy.replace("version = 3", "version = 2") : policy);
  const command = path.join(binDir, release === "1.7" ? "containerd-1.7" : "containerd");
  let daemon = await startDaemon(dir, command, configFile, files.socket);
  return {
    socket: files.socket,
    configFile,
    async killAndStart() {
      await daemon.stop("SIGKILL");
      daemon = await startDaemon(dir, command, configFile, files.socket);
    },
    async [Symbol.asyncDispose]() {
      await daemon.stop("SIGTERM");
      await removeOwnedDir(dir);
    },
  };
}

type Daemon = { stop(signal: "SIGTERM" | "SIGKILL"): Promise<void> };

/** Resolves when it answers. */
async function startDaemon(dir: string, command: string, configFile: string, socket: string): Promise<Daemon> {
  const child = spawn(command, ["--config", configFile], {
    stdio: "ignore",
    env: { ...process.env, PATH: `${inject("toolsBinDir")}:${process.env.PATH}` },
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
    async stop(signal) {
      child.kill(signal);
      await exited;
    },
  };
}
