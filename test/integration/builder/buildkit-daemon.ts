import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { type BuildkitdAllowance, buildkitdConfig } from "../../../builder/buildkitd-config.ts";
import { awaitReady } from "../../../builder/readiness.ts";
import { makeOwnedDir, removeOwnedDir, tieToDir } from "../../support/owned-dir.ts";

export type TestBuildkit = AsyncDisposable & {
  readonly address: string;
  /** SIGKILL, as a crash */
  kill(): Promise<void>;
};

export type TestBuildkitOptions = {
  /** files that it sees instead of the host's, by their place */
  readonly instead?: Readonly<Record<string, string>>;
  /** instead of the configuration that builders have: none but where its files are */
  readonly stock?: boolean;
  readonly allowance?: BuildkitdAllowance;
};

/** A buildkitd of the test's own, with the configuration that builders have, in a mount namespace of its own. */
export async function openTestBuildkit(
  binDir: string,
  imageHost: string,
  { instead = {}, stock = false, allowance = {} }: TestBuildkitOptions = {},
): Promise<TestBuildkit> {
  const dir = await makeOwnedDir();
  const socket = path.join(dir, "s");
  const config = buildkitdConfig({ imageHost, mirror: imageHost, socket, maxParallelism: 2, ...allowance });
  await mkdir(path.join(dir, "root"));
  await writeFile(path.join(dir, "config.toml"), config.replace("/var/lib/buildkit", path.join(dir, "root")));
  const mounts = Object.entries(instead).map(([place, file]) => `mount --bind '${file}' '${place}'; `);
  const argv = [
    "--mount",
    "sh",
    "-ec",
    `${mounts.join("")}exec "$@"`,
    "sh",
    path.join(binDir, "buildkitd"),
    ...(stock ? stockFlags(dir, socket) : ["--config", path.join(dir, "config.toml")]),
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

function stockFlags(dir: string, socket: string): readonly string[] {
  const files = ["--root", path.join(dir, "root"), "--addr", `unix://${socket}`];
  return [...files, "--oci-worker=true", "--containerd-worker=false", "--cdi-disabled"];
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}
