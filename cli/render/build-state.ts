import type { BuildLogEntry } from "../../builder/build-log.ts";
import { formatDurationMs } from "../../config/duration.ts";
import { presentableLine } from "../../config/strip-control.ts";
import { cellsOf, fitCells } from "./cells.ts";
import { sizeOf } from "./table.ts";

type Transfer = { readonly current: number; readonly total: number };
type ActiveStep = { readonly name: string; readonly startedAtMs: number; readonly transfers: ReadonlyMap<string, Transfer> };

/** What a terminal shows of a build under way: how many steps are over, those that run, and the last lines that they said. */
export type BuildState = {
  readonly attempt: number;
  readonly active: ReadonlyMap<number, ActiveStep>;
  readonly done: number;
  readonly cached: number;
  /** of steps that run: what one has said is over with it */
  readonly tail: readonly { readonly step: number; readonly line: string }[];
};

export const emptyBuild: BuildState = { attempt: 1, active: new Map(), done: 0, cached: 0, tail: [] };
const tailLines = 6;
const activeLines = 4;

export function applyBuildEntry(state: BuildState, entry: BuildLogEntry): BuildState {
  switch (entry.type) {
    case "attempt":
      return { ...emptyBuild, attempt: entry.attempt };
    case "started": {
      const step = { name: shown(entry.name), startedAtMs: entry.atMs, transfers: new Map() };
      return { ...state, active: new Map(state.active).set(entry.step, step) };
    }
    case "status": {
      const step = state.active.get(entry.step);
      if (step === undefined || entry.total <= 0) return state;
      const transfers = new Map(step.transfers).set(entry.id, { current: entry.current, total: entry.total });
      return { ...state, active: new Map(state.active).set(entry.step, { ...step, transfers }) };
    }
    case "completed":
    case "cached":
    case "failed": {
      const active = new Map(state.active);
      active.delete(entry.step);
      const tail = state.tail.filter(({ step }) => step !== entry.step);
      return { ...state, active, tail, done: state.done + 1, cached: state.cached + (entry.type === "cached" ? 1 : 0) };
    }
    case "log":
      return { ...state, tail: [...state.tail, { step: entry.step, line: shown(entry.line) }].slice(-tailLines) };
    default:
      return state;
  }
}

/** At most `rows` lines, none wider than `columns` cells: the newest steps go before what they said, and that before what is over. */
export function buildStateLines(build: BuildState, nowMs: number, { rows, columns }: { rows: number; columns: number }): string[] {
  const active = lastOf([...build.active], Math.min(activeLines, rows)).map(([step, running]) => activeLine(step, running, nowMs, columns));
  const tail = lastOf(build.tail, rows - active.length).map(({ line }) => fitCells(`      ${line}`, columns));
  const over = rows > active.length + tail.length ? overLine(build) : undefined;
  return [...(over === undefined ? [] : [fitCells(over, columns)]), ...active, ...tail];
}

const lastOf = <T>(items: readonly T[], count: number): readonly T[] => (count <= 0 ? [] : items.slice(-count));

/** The time is what changes: in a narrow terminal the name is cut. */
function activeLine(step: number, { name, startedAtMs, transfers }: ActiveStep, nowMs: number, columns: number): string {
  const end = `${transferText([...transfers.values()])}  ${formatDurationMs(Math.max(0, nowMs - startedAtMs))}`;
  return fitCells(`${fitCells(`    #${step} ${name}`, Math.max(8, columns - cellsOf(end)))}${end}`, columns);
}

function transferText(transfers: readonly Transfer[]): string {
  if (transfers.length === 0) return "";
  const sum = (of: keyof Transfer) => transfers.reduce((bytes, transfer) => bytes + transfer[of], 0);
  return `  ${sizeOf(sum("current"))} / ${sizeOf(sum("total"))}`;
}

function overLine({ attempt, done, cached }: BuildState): string | undefined {
  const parts = [
    ...(attempt === 1 ? [] : [`attempt ${attempt}`]),
    ...(done === 0 ? [] : [`${done} done`]),
    ...(cached === 0 ? [] : [`${cached} of them cached`]),
  ];
  return parts.length === 0 ? undefined : `    ${parts.join(", ")}`;
}

const shown = (text: string): string => presentableLine(text).replaceAll("\t", "  ");
