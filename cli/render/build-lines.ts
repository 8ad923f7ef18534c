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
    default:
      return [];
  }
}

/** What a terminal shows of a build under way: the steps that run, and the last lines that they said. */
export type BuildState = { readonly active: ReadonlyMap<number, string>; readonly tail: readonly string[] };

export const emptyBuild: BuildState = { active: new Map(), tail: [] };
const tailLines = 6;

export function applyBuildEntry(state: BuildState, entry: BuildLogEntry): BuildState {
  switch (entry.type) {
    case "attempt":
      return emptyBuild;
    case "started":
      return { ...state, active: new Map(state.active).set(entry.step, presentableLine(entry.name)) };
    case "completed":
    case "cached":
    case "failed": {
      const active = new Map(state.active);
      active.delete(entry.step);
      return { ...state, active };
    }
    case "log":
      return { ...state, tail: [...state.tail, presentableLine(entry.line)].slice(-tailLines) };
    default:
      return state;
  }
}
