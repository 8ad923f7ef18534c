import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { buildkitdConfig } from "../../../builder/buildkitd-config.ts";
import { awaitReady } from "../../../builder/readiness.ts";
import { makeOwnedDir, removeOwnedDir, tieToDir } from "../../support/owned-dir.ts";

export type TestBuildkit = AsyncDisposable & {
  readonly address: string;
  /** SIGKILL, as a crash */
  kill(): Promise<void>;
};

/** A buildkitd of the test's own, with the configuration that builders have, in a mount namespace of its own. */
export async function openTestBuildkit(binDir: string, imageHost: string): Promise<TestBuildkit> {
  const dir = await makeOwnedDir();
  const socket = path.join(dir, "s");
  const config = buildkitdConfig({ imageHost, mirror: imageHost, socket, maxParallelism: 2 });
  await mkdir(path.join(dir, "root"));
  await writeFile(path.join(dir, "config.toml"), config.replace("/var/lib/buildkit", path.join(dir, "root")));
  const argv = [
    "--mount",
    path.join(binDir, "buildkitd"),
    "--config",
    path.join(dir, "config.toml"),
    "--oci-worker-binary",
    path.join(binDir, "runc"),
  ];
  const daemon = spawn("unshare", argv, { stdio: ["ignore", "ignore", "pipe"] });
  await tieToDir(dir, "buildkitd", daemon.pid);
  daemon.stderr.pipe(createWriteStream(path.join(dir, "log")));
  const end = () => endProcess(daemon, "SIGKILL");
  try {
    await awaitReady(socket, { signal: AbortSignal.timeout(30_000), timeoutMs: 30_000 });
  } catch (error) {
    await end();
    throw error;
  }
  return {
    address: `unix:${socket}`,
    kill: end,
    [Symbol.asyncDispose]: async () => {
      await endProcess(daemon, "SIGTERM");
      await removeOwnedDir(dir);
    },
  };
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}
