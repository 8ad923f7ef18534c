import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { isRunning, processIdentitySchema, thisProcess } from "../../config/process-identity.ts";
import { runningProcess, stopProcess } from "../../stack/child-process.ts";
import { unmountBelow } from "../../stack/mounts.ts";
import { killShims } from "../../stack/shims.ts";

/** Short on purpose: sockets live below, and a unix socket's path holds 107 bytes. */
const parent = "/tmp";
const prefix = "slipway-t-";

/** A folder that says whose it is, so that a later run can clean up after a killed one. */
export async function makeOwnedDir(): Promise<string> {
  const dir = await mkdtemp(path.join(parent, prefix));
  await writeFile(path.join(dir, "owner.json"), JSON.stringify(thisProcess()));
  return dir;
}

/** Ends every process that has a pid file in `<dir>/pids`, what their shims run, every mount below, and the folder. */
export async function removeOwnedDir(dir: string): Promise<void> {
  const pidDir = path.join(dir, "pids");
  const pidFiles = await readdir(pidDir).catch(() => []);
  await Promise.all(
    pidFiles.map(async (name) => {
      const identity = runningProcess(path.join(pidDir, name));
      if (identity !== undefined) await stopProcess(identity, 5_000);
    }),
  );
  await killShims(containerdSocketIn(dir));
  await unmountBelow(dir);
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
}

export const containerdSocketIn = (dir: string): string => path.join(dir, "c.sock");

/** Removes the folders whose owner is gone. */
export async function sweepOwnedDirs(): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix)) continue;
    const dir = path.join(parent, name);
    const owner = await readFile(path.join(dir, "owner.json"), "utf8").catch(() => undefined);
    if (owner !== undefined && !isRunning(processIdentitySchema.parse(JSON.parse(owner)))) await removeOwnedDir(dir);
  }
}
