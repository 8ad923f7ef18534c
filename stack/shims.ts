import { readdirSync, readFileSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { identifyProcess, isRunning, type ProcessIdentity } from "../config/process-identity.ts";
import { sendSignal } from "./child-process.ts";

/** containerd's shims and all processes below them survive containerd; these are the ones of the containerd at `socket`. */
export function shimsOf(socket: string): ProcessIdentity[] {
  return pids()
    .filter((pid) => {
      const argv = read(`/proc/${pid}/cmdline`).split("\0");
      return (argv[0] ?? "").endsWith("containerd-shim-runc-v2") && argv[argv.indexOf("-address") + 1] === socket;
    })
    .map(identifyProcess)
    .filter((identity) => identity !== undefined);
}

/** Kills what the shims run, then the shims. For a containerd that is gone and will not come back. */
export async function killShims(socket: string): Promise<void> {
  const shims = shimsOf(socket);
  if (shims.length === 0) return;
  const doomed = [...shims.flatMap(({ pid }) => descendants(pid)), ...shims];
  for (const identity of doomed) sendSignal(identity, "SIGKILL");
  for (let round = 0; round < 250 && doomed.some(isRunning); round++) await sleep(20);
}

/** Removes the sockets, outside of the instance's folders, of shims that could not do it themselves. @param stateDir of their containerd */
export async function removeShimSockets(stateDir: string): Promise<void> {
  const tasks = path.join(stateDir, "io.containerd.runtime.v2.task");
  for (const file of await readdir(tasks, { recursive: true }).catch(() => [])) {
    if (path.basename(file) !== "bootstrap.json") continue;
    const address = /"address":"unix:\/\/([^"]+)"/.exec(read(path.join(tasks, file)))?.[1];
    if (address !== undefined) await rm(address, { force: true });
  }
}

function descendants(root: number): ProcessIdentity[] {
  const children = new Map<number, number[]>();
  for (const pid of pids()) {
    const stat = read(`/proc/${pid}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found: number[] = [];
  const visit = (pid: number) => {
    for (const child of children.get(pid) ?? []) {
      found.push(child);
      visit(child);
    }
  };
  visit(root);
  return found.map(identifyProcess).filter((identity) => identity !== undefined);
}

function pids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
