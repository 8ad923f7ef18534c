import type { Disk } from "../../containerd/disk.ts";
import type { PrunePolicy } from "../../workflows/prune-types.ts";

/** While the disk is short, this is all that what nobody claims is left for. */
const lowDiskKeepMs = 10 * 60_000;
const mostLowDiskBytes = 10 * 1024 ** 3;

export function isLow({ freeBytes, totalBytes }: Disk, { lowDiskBytes }: PrunePolicy): boolean {
  return freeBytes < (lowDiskBytes ?? Math.min(totalBytes / 10, mostLowDiskBytes));
}

/** What holds now: with a short disk images go that nobody claims, however recently they were used. */
export function policyFor(disk: Disk, policy: PrunePolicy): PrunePolicy {
  if (!isLow(disk, policy)) return policy;
  const { keepForMs, keepUnusedForMs } = policy;
  return { ...policy, keepForMs: Math.min(keepForMs, lowDiskKeepMs), keepUnusedForMs: Math.min(keepUnusedForMs, lowDiskKeepMs) };
}
