import type { GarbageCounts } from "../../workflows/types.ts";

export type { GarbageCounts } from "../../workflows/types.ts";

export const noGarbage: GarbageCounts = { condemned: 0, condemnedBytes: 0, removed: 0, removedBytes: 0, damaged: 0 };

export function addCounts(a: GarbageCounts, b: GarbageCounts): GarbageCounts {
  return {
    condemned: a.condemned + b.condemned,
    condemnedBytes: a.condemnedBytes + b.condemnedBytes,
    removed: a.removed + b.removed,
    removedBytes: a.removedBytes + b.removedBytes,
    damaged: a.damaged + b.damaged,
  };
}
