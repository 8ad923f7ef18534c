import type { ImageVerdict, PruneReport } from "../../workflows/prune-types.ts";
import { sizeOf, tableLines } from "./table.ts";

export function pruneLines(report: PruneReport): string[] {
  const { dryRun, removed, kept, freedBytes, abortedIngests, lowDisk, freeBytes, removals, keeps } = report;
  const rows = [
    ...removals.map(({ name, reason, freedBytes: bytes }) => [dryRun ? "would go" : "removed", name, reason, sizeOf(bytes)]),
    ...keeps.map(({ name, reason }) => ["kept", name, reason, ""]),
  ];
  const unshown = removed + kept - rows.length;
  return [
    ...(rows.length === 0 ? [] : [...tableLines(["", "IMAGE", "REASON", "FREES"], rows), ""]),
    ...(unshown === 0 ? [] : [`and ${unshown} more`, ""]),
    `${removed} ${dryRun ? "would go" : "removed"} (${sizeOf(freedBytes)}), ${kept} kept; ${sizeOf(freeBytes)} free before${lowDisk ? ": the disk is short" : ""}`,
    ...(abortedIngests === 0 ? [] : [`abandoned ingests ${dryRun ? "found" : "aborted"}: ${abortedIngests}`]),
  ];
}

export function pruneJson({ host, dryRun, freeBytes, lowDisk, ...report }: PruneReport): Record<string, unknown> {
  return {
    host,
    dry_run: dryRun,
    free_bytes: freeBytes,
    low_disk: lowDisk,
    removed: report.removed,
    kept: report.kept,
    freed_bytes: report.freedBytes,
    aborted_ingests: report.abortedIngests,
    removals: report.removals.map(({ freedBytes, ...removal }) => ({ ...verdictJson(removal), freed_bytes: freedBytes })),
    keeps: report.keeps.map(verdictJson),
  };
}

const verdictJson = ({ org, name, digest, reason }: ImageVerdict<string>): Record<string, string> => ({ org, name, digest, reason });
