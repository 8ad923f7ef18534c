import { formatDurationMs } from "../../config/duration.ts";
import type { RunView } from "../../workflows/types.ts";
import { buildEntryLines } from "./build-lines.ts";
import type { Renderer, RendererDeps } from "./renderer.ts";
import { changedStepLines, runningStep, stageTitles } from "./step-lines.ts";

/** A CI log without output for longer looks dead, and some end the job. */
const heartbeatMs = 30_000;

/** Append-only lines with elapsed seconds. */
export function createPlainRenderer({ write, now }: RendererDeps): Renderer {
  const startedAtMs = now();
  let lastLineAtMs = startedAtMs;
  let last: RunView | undefined;
  const line = (text: string): void => {
    lastLineAtMs = now();
    write(`[${((lastLineAtMs - startedAtMs) / 1000).toFixed(1).padStart(6)}] ${text}\n`);
  };
  return {
    view(view) {
      for (const text of changedStepLines(last, view)) line(text);
      last = view;
    },
    build(entry) {
      for (const text of buildEntryLines(entry)) line(text);
    },
    notice: line,
    tick() {
      if (now() - lastLineAtMs < heartbeatMs) return;
      const step = last === undefined ? undefined : runningStep(last);
      const sinceMs = step?.startedAtMs === undefined ? now() - startedAtMs : now() - step.startedAtMs;
      line(`... ${step === undefined ? "waiting for the run" : stageTitles[step.name]} (${formatDurationMs(sinceMs)})`);
    },
    end: () => {},
  };
}
