import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { isRunning } from "../../../config/process-identity.ts";
import { startProcess, stopProcess, untilReady } from "../../../stack/child-process.ts";
import { containerdConfig, containerdDaemon } from "../../../stack/engines.ts";
import { mountsBelow, unmountBelow } from "../../../stack/mounts.ts";
import { killShims, removeShimSockets, shimsOf } from "../../../stack/shims.ts";
import { containerdSocketIn, makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";

const run = promisify(execFile);

let dir = "";
beforeEach(async () => {
  dir = await makeOwnedDir();
});
afterEach(async () => await removeOwnedDir(dir));

test("what the shims of a killed containerd run is ended, unmounted and forgotten", async () => {
  const binDir = inject("toolsBinDir");
  const socket = containerdSocketIn(dir);
  const options = { binDir, root: path.join(dir, "root"), state: path.join(dir, "state"), socket, configFile: path.join(dir, "c.toml") };
  await writeFile(options.configFile, containerdConfig(options));
  const spec = containerdDaemon(options);
  const files = { pidFile: path.join(dir, "pids", "containerd"), logFile: path.join(dir, "containerd.log") };
  const containerd = startProcess(spec, files);
  await untilReady(spec, containerd, files, AbortSignal.timeout(30_000));
  await startMachine(binDir, socket);

  await stopProcess(containerd, 0);
  const [shim, ...others] = shimsOf(socket);
  expect(others).toEqual([]);
  expect(isRunning(shim!)).toBe(true);
  const bootstrap = await readFile(path.join(options.state, "io.containerd.runtime.v2.task/test/m1/bootstrap.json"), "utf8");
  const { address } = JSON.parse(bootstrap) as { address: string };
  const shimSocket = address.replace("unix://", "");
  expect(existsSync(shimSocket)).toBe(true);

  await killShims(socket);
  await removeShimSockets(options.state);
  await unmountBelow(dir);
  expect(shimsOf(socket)).toEqual([]);
  expect(existsSync(shimSocket)).toBe(false);
  expect(await mountsBelow(dir)).toEqual([]);
});

/** A container with a root folder of one binary, which sleeps. */
async function startMachine(binDir: string, socket: string): Promise<void> {
  const rootfs = path.join(dir, "rootfs");
  await mkdir(path.join(rootfs, "bin"), { recursive: true });
  await run("cp", ["/bin/busybox", path.join(rootfs, "bin", "busybox")]);
  const ctr = [path.join(binDir, "ctr"), "--address", socket, "--namespace", "test"] as const;
  const args = [
    ...ctr.slice(1),
    "run",
    "--detach",
    "--null-io",
    "--runc-root",
    path.join(dir, "runc"),
    "--rootfs",
    rootfs,
    "m1",
    "/bin/busybox",
    "sleep",
    "1000",
  ];
  const child = spawn(ctr[0], args, {
    env: { ...process.env, PATH: `${binDir}:${process.env.PATH}` },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  expect(code).toBe(0);
}
