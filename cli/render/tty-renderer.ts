import { formatDurationMs } from "../../config/duration.ts";
import type { RunView, StepView } from "../../workflows/types.ts";
import { applyBuildEntry, buildStateLines, emptyBuild, type BuildState } from "./build-state.ts";
import { cellsOf, fitCells } from "./cells.ts";
import type { Renderer, RendererDeps } from "./renderer.ts";
import { stageTitles, stateOf, stepDurationMs } from "./step-lines.ts";

export type FrameState = { readonly view: RunView | undefined; readonly build: BuildState };
export type FrameSize = { readonly columns: number; readonly rows: number };
export type TtyDeps = RendererDeps & {
  /** asked for each frame: terminals are resized */
  readonly size: () => FrameSize;
  readonly colours: boolean;
};

const spinner = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const marks: Record<StepView["status"], string> = { pending: "·", running: " ", done: "✓", failed: "✗", skipped: "-" };

/** The whole picture of a run at one moment: each line narrower than the terminal, and fewer of them than it has. */
export function frameLines(state: FrameState, nowMs: number, size: FrameSize): string[] {
  const spin = spinner[Math.floor(nowMs / 100) % spinner.length]!;
  const columns = Math.max(1, size.columns - 1);
  const rows = Math.max(1, size.rows - 1);
  if (state.view === undefined) return [fitCells(`${spin} Waiting for the run`, columns)];
  const lines: string[] = [];
  let building: number | undefined;
  for (const step of state.view.steps) {
    const durationMs = stepDurationMs(step, nowMs);
    const mark = step.status === "running" ? spin : marks[step.status];
    const time = durationMs === undefined ? "" : `  ${formatDurationMs(durationMs)}`;
    lines.push(`${mark} ${stageTitles[step.name]}${time}${step.note === undefined ? "" : `  ${step.note}`}`);
    if (step.name === "build" && step.status === "running") building = lines.length;
    if (step.name === "rollout" && step.status !== "pending")
      for (const machine of state.view.machines) lines.push(`    ${machine.id} ${stateOf(machine)}`);
  }
  // the build has what room the rest leaves it
  if (building !== undefined)
    lines.splice(building, 0, ...buildStateLines(state.build, nowMs, { rows: Math.max(0, rows - lines.length), columns }));
  return lines.slice(0, rows).map((line) => fitCells(line, columns));
}

/** Redraws the picture in place. */
export function createTtyRenderer({ write, now, size, colours }: TtyDeps): Renderer {
  let state: FrameState = { view: undefined, build: emptyBuild };
  let drawn: readonly string[] = [];
  // what a terminal that became narrower has wrapped takes more rows than lines; "\r", as a Ctrl-C has moved the cursor
  const erase = (): string => {
    const { columns } = size();
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(cellsOf(line) / Math.max(1, columns))), 0);
    return rows === 0 ? "" : `\r\u001b[${rows}A\u001b[0J`;
  };
  const draw = (): void => {
    const lines = frameLines(state, now(), size());
    write(`${erase()}${(colours ? lines.map(coloured) : lines).join("\n")}\n`);
    drawn = lines;
  };
  return {
    view(view) {
      state = { ...state, view };
      draw();
    },
    build(entry) {
      state = { ...state, build: applyBuildEntry(state.build, entry) };
    },
    notice(text) {
      write(`${erase()}${text}\n`);
      drawn = [];
      draw();
    },
    tick: draw,
    end() {
      draw();
      drawn = [];
    },
  };
}

const ansi = { green: "\u001b[32m", red: "\u001b[31m", dim: "\u001b[2m", reset: "\u001b[0m" } as const;

/** Of a frame's line, by what it begins with: the mark of a step, and what is beneath a step. */
function coloured(line: string): string {
  const mark = line.charAt(0);
  if (mark === marks.done) return `${ansi.green}${mark}${ansi.reset}${line.slice(1)}`;
  if (mark === marks.failed) return `${ansi.red}${line}${ansi.reset}`;
  return line.startsWith("      ") || mark === marks.pending ? `${ansi.dim}${line}${ansi.reset}` : line;
}
