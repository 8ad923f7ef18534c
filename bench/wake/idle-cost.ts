import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { rounded } from "../median.ts";
import { cpuSeconds, treeOf } from "../registry/process-tree.ts";

export type IdleCost = {
  /** pid of containerd's process beside the machine */
  readonly shim: number;
  /** resident, of buildkitd and of its shim */
  readonly buildkitdMib: number;
  readonly shimMib: number;
  /** of both, while nothing happens */
  readonly cpuMsPerSecond: number;
};

const watchMs = 10_000;

/** What a machine's first process and the shim above it take while nobody uses them. */
export async function idleCost(pid: number): Promise<IdleCost> {
  const shim = Number(statusOf(pid, "PPid"));
  const before = cpuSeconds(shim);
  await sleep(watchMs);
  const cpuMsPerSecond = rounded(((cpuSeconds(shim) - before) * 1000) / (watchMs / 1000), 1);
  const mib = (pids: readonly number[]) =>
    rounded(pids.reduce((sum, each) => sum + Number.parseInt(statusOf(each, "VmRSS"), 10), 0) / 1024, 1);
  return { shim, buildkitdMib: mib(treeOf(pid)), shimMib: mib([shim]), cpuMsPerSecond };
}

/** Whether both end, within a second after they were told to. What waits for its parent to take note of that has ended: it holds nothing. */
export async function isGone(pid: number, shim: number): Promise<boolean> {
  for (let polls = 0; polls < 100; polls++) {
    if ([pid, shim].every(hasEnded)) return true;
    await sleep(10);
  }
  return false;
}

const hasEnded = (pid: number): boolean => !existsSync(`/proc/${pid}`) || statusOf(pid, "State").startsWith("Z");

function statusOf(pid: number, field: string): string {
  return new RegExp(`^${field}:\\s+(.*)$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
}
