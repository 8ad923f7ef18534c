import { chmod, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { startProcess, untilReady } from "../../stack/child-process.ts";
import { containerdConfig, containerdDaemon, s3Server, temporalServer } from "../../stack/engines.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import type { ProcessSpec } from "../../stack/process-spec.ts";
import { installTools } from "../../tools/install.ts";
import type { ContainerdRelease } from "./containerd-release.ts";
import { containerdSocketIn, makeOwnedDir, removeOwnedDir, sweepOwnedDirs } from "./owned-dir.ts";

declare module "vitest" {
  export interface ProvidedContext {
    toolsBinDir: string;
    toolsShareDir: string;
    /** an isolated containerd of this run; every test takes a namespace of its own */
    containerdSocket: string;
    containerdRelease: ContainerdRelease;
    s3: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string };
    /** host:port of a Temporal server of this run, namespace `default`; every test takes a task queue of its own */
    temporalAddress: string;
  }
}

/** The daemons that all integration tests share, once per run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await sweepOwnedDirs();
  const tools = await installTools({
    groups: ["test", "bases"],
    progress: (line) => console.error(line),
    signal: AbortSignal.timeout(20 * 60_000),
  });
  const dir = await makeOwnedDir();
  try {
    const s3 = {
      port: await anyFreePort(),
      region: "us-east-1",
      accessKeyId: "slipway-test",
      secretAccessKey: "slipway-test-secret",
      dir: path.join(dir, "s3"),
    };
    const temporalPort = await anyFreePort();
    const containerd = {
      binDir: tools.binDir,
      root: path.join(dir, "root"),
      state: path.join(dir, "state"),
      socket: containerdSocketIn(dir),
      configFile: path.join(dir, "containerd.toml"),
    };
    await mkdir(s3.dir);
    // what tests, and what they start, leave among the temporary files goes with this folder
    process.env.TMPDIR = await makeTemporaryDir(dir);
    await writeFile(containerd.configFile, containerdConfig(containerd));
    await startAll(dir, [
      s3Server({ binDir: tools.binDir, ...s3 }),
      temporalServer({ binDir: tools.binDir, port: temporalPort, namespace: "default" }),
      containerdDaemon(containerd),
    ]);

    project.provide("toolsBinDir", tools.binDir);
    project.provide("toolsShareDir", tools.shareDir);
    project.provide("containerdSocket", containerd.socket);
    project.provide("containerdRelease", "2.4");
    const { region, accessKeyId, secretAccessKey } = s3;
    project.provide("s3", { endpoint: `http://127.0.0.1:${s3.port}`, region, accessKeyId, secretAccessKey });
    project.provide("temporalAddress", `127.0.0.1:${temporalPort}`);
  } catch (error) {
    await removeOwnedDir(dir);
    throw error;
  }
  return async () => await removeOwnedDir(dir);
}

/** Open to the users that daemons and package managers work as. */
async function makeTemporaryDir(dir: string): Promise<string> {
  const temporary = path.join(dir, "tmp");
  await mkdir(temporary);
  await chmod(temporary, 0o1777);
  return temporary;
}

export async function startAll(dir: string, specs: readonly ProcessSpec[]): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  await Promise.all(
    specs.map(async (spec) => {
      const files = { pidFile: path.join(dir, "pids", spec.name), logFile: path.join(dir, "logs", `${spec.name}.log`) };
      await untilReady(spec, startProcess(spec, files), files, signal);
    }),
  );
}
