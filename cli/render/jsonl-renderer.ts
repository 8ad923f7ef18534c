import type { RunView } from "../../workflows/types.ts";
import type { Renderer, RendererDeps } from "./renderer.ts";
import { viewJson } from "./result-json.ts";

export type EventWriter = (type: string, fields: Record<string, unknown>) => void;

/** One JSON object a line: `{ts, run_id, seq, type, …}`. */
export function createEventWriter({ write, now }: RendererDeps, runId: string): EventWriter {
  let seq = 0;
  return (type, fields) => write(`${JSON.stringify({ ts: new Date(now()).toISOString(), run_id: runId, seq: seq++, type, ...fields })}\n`);
}

/** Every change of a run as an event; the last one, `result`, is written by the command. */
export function createJsonlRenderer(event: EventWriter): Renderer {
  let last: RunView | undefined;
  return {
    view(view) {
      for (const step of view.steps) {
        const before = last?.steps.find((candidate) => candidate.name === step.name);
        if (before?.status !== step.status && step.status !== "pending")
          event("step", {
            stage: step.name,
            status: step.status,
            ...(step.durationMs === undefined ? {} : { duration_ms: step.durationMs }),
          });
      }
      if (last?.status !== view.status) event("run", { status: view.status, ...viewJson(view) });
      last = view;
    },
    build: (entry) => event("build", { stage: "build", entry }),
    notice: (text) => event("notice", { message: text }),
    tick: () => {},
    end: () => {},
  };
}
