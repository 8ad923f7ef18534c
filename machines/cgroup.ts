import { existsSync } from "node:fs";
import { readFile, readdir, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MachineError } from "./errors.ts";

const mountpoint = "/sys/fs/cgroup";

/** The instance's machines all lie beneath one cgroup. */
export function instanceCgroup(instance: string): string {
  return `/slipway/${instance}`;
}

export function machineCgroup(instance: string, org: string, id: string): string {
  return `${instanceCgroup(instance)}/${org}/${id}`;
}

/** Where cgroup `cgroup` lies: one folder on cgroup v2, one per controller on v1 (and on the hybrid of both). */
export async function cgroupDirs(cgroup: string): Promise<readonly string[]> {
  if (existsSync(path.join(mountpoint, "cgroup.controllers"))) return [path.join(mountpoint, cgroup)];
  const controllers = await readdir(mountpoint, { withFileTypes: true });
  return controllers.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(mountpoint, name, cgroup));
}

/** Every process in the cgroup or beneath it, whether or not containerd still knows of it. */
export async function cgroupPids(cgroup: string): Promise<readonly number[]> {
  const pids = new Set<number>();
  for (const dir of await cgroupDirs(cgroup)) {
    for (const folder of await foldersBeneath(dir)) {
      const text = await readFile(path.join(folder, "cgroup.procs"), "utf8").catch(() => "");
      for (const line of text.split("\n")) if (line !== "") pids.add(Number(line));
    }
  }
  pids.delete(0);
  return [...pids];
}

/**
 * Kills what is left in the cgroup and waits until it is empty: at most one process tree per machine, judged by what runs.
 * @throws MachineError STILL_RUNNING after `timeoutMs`
 */
export async function emptyCgroup(cgroup: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (let waitMs = 5; ; waitMs = Math.min(waitMs * 2, 200)) {
    const pids = await cgroupPids(cgroup);
    if (pids.length === 0) return;
    await killTrees(cgroup);
    for (const pid of pids) kill(pid);
    if (Date.now() > deadline) {
      throw new MachineError(
        "STILL_RUNNING",
        `Cannot empty cgroup "${cgroup}": processes ${pids.slice(0, 10).join(", ")} do not end when killed`,
      );
    }
    await delay(waitMs, undefined, { signal });
  }
}

/** v1: a frozen process does not take its SIGKILL until it is thawed. v2 (Linux 5.14): one write kills all, however fast they fork. */
async function killTrees(cgroup: string): Promise<void> {
  for (const dir of await cgroupDirs(cgroup)) {
    for (const folder of await foldersBeneath(dir)) {
      await writeIfThere(path.join(folder, "freezer.state"), "THAWED");
      await writeIfThere(path.join(folder, "cgroup.kill"), "1");
    }
  }
}

async function writeIfThere(file: string, text: string): Promise<void> {
  if (existsSync(file)) await writeFile(file, text).catch(() => undefined);
}

/** Removes the emptied cgroup with everything beneath it; the kernel may need a moment after the last process. */
export async function removeCgroup(cgroup: string): Promise<void> {
  for (const dir of await cgroupDirs(cgroup)) {
    for (const folder of (await foldersBeneath(dir)).toReversed()) await removeFolder(folder);
  }
}

async function removeFolder(folder: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await rmdir(folder);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return;
      if (code !== "EBUSY" || attempt === 20) throw error;
      await delay(10);
    }
  }
}

/** The folder itself and all beneath it, parents first; empty when there is none. */
async function foldersBeneath(dir: string): Promise<readonly string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return [];
  const beneath: string[] = [dir];
  for (const entry of entries) if (entry.isDirectory()) beneath.push(...(await foldersBeneath(path.join(dir, entry.name))));
  return beneath;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
