import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { lockFile } from "../../config/file-lock.ts";
import { instancePaths } from "../../config/paths.ts";
import { identifyProcess, isRunning, processIdentitySchema, thisProcess } from "../../config/process-identity.ts";
import { runningProcess, stopProcess } from "../../stack/child-process.ts";
import { down } from "../../stack/down.ts";
import { unmountBelow } from "../../stack/mounts.ts";
import { killShims, removeShimSockets } from "../../stack/shims.ts";

/** Short on purpose: sockets live below, and a unix socket's path holds 107 bytes. */
const parent = "/tmp";
const prefix = "slipway-t-";

/** A folder that says whose it is, so that a later run can clean up after a killed one. */
export async function makeOwnedDir(): Promise<string> {
  const dir = await mkdtemp(path.join(parent, prefix));
  // machines run as other users, and reach their root filesystem through this folder
  await chmod(dir, 0o711);
  await writeFile(path.join(dir, "owner.json"), JSON.stringify(thisProcess()));
  return dir;
}

/** Has a process that was just started end with the folder, also when whoever started it is killed. */
export async function tieToDir(dir: string, name: string, pid: number | undefined): Promise<void> {
  const identity = pid === undefined ? undefined : identifyProcess(pid);
  if (identity === undefined) return;
  await mkdir(path.join(dir, "pids"), { recursive: true });
  await writeFile(path.join(dir, "pids", name), JSON.stringify(identity));
}

/** Ends every process that has a pid file in the folder, what their shims run, every mount below, and the folder. */
export async function removeOwnedDir(dir: string): Promise<void> {
  await stopNamed(dir, ["run/pids/supervisor"]);
  await stopNamed(dir, await filesIn(dir, ["pids", "run/pids"]));
  for (const [socket, state] of [
    [containerdSocketIn(dir), path.join(dir, "state")],
    [path.join(dir, "run", "containerd.sock"), path.join(dir, "run", "containerd")],
  ] as const) {
    await killShims(socket);
    await removeShimSockets(state);
  }
  await unmountBelow(dir);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}

async function filesIn(dir: string, folders: readonly string[]): Promise<string[]> {
  const lists = await Promise.all(
    folders.map(async (folder) => (await readdir(path.join(dir, folder)).catch(() => [])).map((name) => path.join(folder, name))),
  );
  return lists.flat();
}

async function stopNamed(dir: string, pidFiles: readonly string[]): Promise<void> {
  const running = pidFiles.map((file) => runningProcess(path.join(dir, file))).filter((identity) => identity !== undefined);
  await Promise.all(running.map(async (identity) => await stopProcess(identity, 5_000)));
}

export const containerdSocketIn = (dir: string): string => path.join(dir, "c.sock");

/** A whole instance has bridges and filter rules, too, that only `down` knows. */
async function takeDownInstance(dataDir: string): Promise<void> {
  if (!existsSync(instancePaths.settings(dataDir))) return;
  await down({ dataDir }, () => undefined, AbortSignal.timeout(60_000)).catch((error: unknown) => console.error(error));
}

/** Removes the folders whose owner is gone, and what is on the host because of them; one run at a time. */
export async function sweepOwnedDirs(): Promise<void> {
  await using _alone = await lockFile(path.join(parent, "slipway-tests.lock"), () => undefined, AbortSignal.timeout(300_000));
  const dirs = await ownerlessDirs();
  // while the daemons of the same run, in folders of their own, can still be asked
  for (const dir of dirs) await takeDownInstance(path.join(dir, "data"));
  for (const dir of dirs) await removeOwnedDir(dir);
}

async function ownerlessDirs(): Promise<readonly string[]> {
  const dirs = (await readdir(parent)).filter((name) => name.startsWith(prefix)).map((name) => path.join(parent, name));
  const owners = await Promise.all(dirs.map((dir) => readFile(path.join(dir, "owner.json"), "utf8").catch(() => undefined)));
  return dirs.filter((_dir, at) => {
    const owner = owners[at];
    return owner !== undefined && !isRunning(processIdentitySchema.parse(JSON.parse(owner)));
  });
}
