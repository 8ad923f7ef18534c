import { formatDurationMs } from "../../config/duration.ts";
import type { RunView, StepView } from "../../workflows/types.ts";
import { applyBuildEntry, emptyBuild, type BuildState } from "./build-lines.ts";
import type { Renderer, RendererDeps } from "./renderer.ts";
import { stageTitles, stateOf, stepDurationMs } from "./step-lines.ts";

export type FrameState = { readonly view: RunView | undefined; readonly build: BuildState };
export type FrameSize = { readonly columns: number; readonly rows: number };

const spinner = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const marks: Record<StepView["status"], string> = { pending: "·", running: " ", done: "✓", failed: "✗", skipped: "-" };

/** The whole picture of a run at one moment, each line no wider than the terminal. */
export function frameLines(state: FrameState, nowMs: number, size: FrameSize): string[] {
  const spin = spinner[Math.floor(nowMs / 100) % spinner.length]!;
  if (state.view === undefined) return [`${spin} Waiting for the run`];
  const lines: string[] = [];
  for (const step of state.view.steps) {
    const durationMs = stepDurationMs(step, nowMs);
    const mark = step.status === "running" ? spin : marks[step.status];
    const time = durationMs === undefined ? "" : `  ${formatDurationMs(durationMs)}`;
    lines.push(`${mark} ${stageTitles[step.name]}${time}${step.note === undefined ? "" : `  ${step.note}`}`);
    if (step.name === "build" && step.status === "running") lines.push(...buildLines(state.build));
    if (step.name === "rollout" && step.status !== "pending")
      for (const machine of state.view.machines) lines.push(`    ${machine.id} ${stateOf(machine)}`);
  }
  // a frame taller than the screen cannot be redrawn
  return lines.slice(0, Math.max(1, size.rows - 1)).map((line) =>
    Array.from(line)
      .slice(0, Math.max(1, size.columns - 1))
      .join(""),
  );
}

function buildLines(build: BuildState): string[] {
  const active = [...build.active].slice(-3).map(([step, name]) => `    #${step} ${name}`);
  return [...active, ...build.tail.map((line) => `      ${line.replaceAll("\t", "  ")}`)];
}

/** Redraws the picture in place. */
export function createTtyRenderer({ write, now }: RendererDeps, size: () => FrameSize): Renderer {
  let state: FrameState = { view: undefined, build: emptyBuild };
  let drawnLines = 0;
  const erase = (): string => (drawnLines === 0 ? "" : `\u001b[${drawnLines}A\u001b[0J`);
  const draw = (): void => {
    const lines = frameLines(state, now(), size());
    write(`${erase()}${lines.join("\n")}\n`);
    drawnLines = lines.length;
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
      drawnLines = 0;
      draw();
    },
    tick: draw,
    end() {
      draw();
      drawnLines = 0;
    },
  };
}
