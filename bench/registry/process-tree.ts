import { readFileSync, readdirSync, writeFileSync } from "node:fs";

/** A process and all below it. */
export function treeOf(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(treeOf)];
}

/** Forgets the peaks so far (proc(5), clear_refs). */
export function resetPeak(pid: number): void {
  for (const each of treeOf(pid)) writeFileSync(`/proc/${each}/clear_refs`, "5");
}

/** Peak resident memory since the last reset; of several processes the sum of their peaks, which is not less than the peak of the sum. */
export function peakRssBytes(pid: number): number {
  return treeOf(pid)
    .map((each) => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${each}/status`, "utf8"))?.[1] ?? 0) * 1024)
    .reduce((sum, bytes) => sum + bytes, 0);
}

/** CPU time so far, user and system, in seconds, of those that run. */
export function cpuSeconds(pid: number): number {
  return treeOf(pid)
    .map((each) => ticksOf(each, 11, 12))
    .reduce((sum, seconds) => sum + seconds, 0);
}

/** CPU time, user and system, in seconds, of the children of a process that have ended. */
export function endedChildrenCpuSeconds(pid: number): number {
  return ticksOf(pid, 13, 14);
}

/** Clock ticks are 1/100 s on every Linux that Node runs on (proc(5), stat). */
function ticksOf(pid: number, ...at: readonly number[]): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return at.reduce((sum, index) => sum + Number(fields[index]), 0) / 100;
}
