import type { BuildLogEntry } from "../../builder/build-log.ts";
import { formatDurationMs } from "../../config/duration.ts";
import { presentableLine } from "../../config/strip-control.ts";

/** The lines of one entry of a build's log, numbered as BuildKit numbers its steps; unknown entries have none. */
export function buildEntryLines(entry: BuildLogEntry): string[] {
  switch (entry.type) {
    case "started":
      return [`#${entry.step} ${presentableLine(entry.name)}`];
    case "completed":
      return [`#${entry.step} DONE ${formatDurationMs(entry.durationMs)}`];
    case "cached":
      return [`#${entry.step} CACHED ${presentableLine(entry.name)}`];
    case "failed":
      return [`#${entry.step} ERROR: ${presentableLine(entry.error)}`];
    case "log":
      return [`#${entry.step} ${presentableLine(entry.line)}`];
    case "warning":
      return [`#${entry.step} WARN: ${presentableLine(entry.message)}${entry.line === undefined ? "" : ` (line ${entry.line})`}`];
    case "attempt":
      return entry.attempt > 1 ? [`--> build attempt ${entry.attempt}`] : [];
    case "broken off":
      return [`--> build attempt ${entry.attempt} broke off: ${presentableLine(entry.reason)}`];
    default:
      return [];
  }
}
