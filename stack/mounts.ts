import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The mount points of this mount namespace at or below `dir`, the deepest first. */
export async function mountsBelow(dir: string): Promise<string[]> {
  return mountPointsBelow(await readFile("/proc/self/mountinfo", "utf8"), dir);
}

/** `mountinfo` as in proc_pid_mountinfo(5): field 5, with octal escapes. */
export function mountPointsBelow(mountinfo: string, dir: string): string[] {
  const points = mountinfo
    .split("\n")
    .map((line) => line.split(" ")[4])
    .filter((point) => point !== undefined)
    .map((point) => point.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))));
  return points.filter((point) => point === dir || point.startsWith(`${dir}/`)).toReversed();
}

/** Lazily, as a process that is being killed may still hold one. */
export async function unmountBelow(dir: string): Promise<void> {
  for (const point of await mountsBelow(dir)) await run("umount", ["-l", point]).catch(() => undefined);
}
