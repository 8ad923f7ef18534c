import type { GarbageCounts, GarbageReport } from "../../workflows/types.ts";
import { sizeOf, tableLines } from "./table.ts";

export function garbageLines({ dryRun, repositories, links, blobs, strays }: GarbageReport): string[] {
  const row = (what: string, { condemned, condemnedBytes, removed, removedBytes }: GarbageCounts) => [
    what,
    String(condemned),
    sizeOf(condemnedBytes),
    String(removed),
    sizeOf(removedBytes),
  ];
  const damaged = links.damaged + blobs.damaged;
  return [
    `${repositories} ${repositories === 1 ? "repository" : "repositories"}${dryRun ? "; dry run, nothing was changed" : ""}`,
    "",
    ...tableLines(["", "CONDEMNED", "SIZE", "REMOVED", "SIZE"], [row("blobs of repositories", links), row("bytes", blobs)]),
    "",
    `stray bytes ${dryRun ? "found" : "removed"}: ${strays}`,
    ...(damaged === 0 ? [] : [`${damaged} damaged ${damaged === 1 ? "record was" : "records were"} left alone: slipway registry scrub`]),
  ];
}

export function garbageJson({ dryRun, repositories, links, blobs, strays }: GarbageReport): Record<string, unknown> {
  return { dry_run: dryRun, repositories, repository_blobs: countsJson(links), blobs: countsJson(blobs), stray_bytes_objects: strays };
}

function countsJson({ condemned, condemnedBytes, removed, removedBytes, damaged }: GarbageCounts): Record<string, number> {
  return { condemned, condemned_bytes: condemnedBytes, removed, removed_bytes: removedBytes, damaged };
}
