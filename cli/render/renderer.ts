import type { BuildLogEntry } from "../../builder/build-log.ts";
import type { RunView } from "../../workflows/types.ts";

/** Shows a run while it goes on. Writes to stderr only, save for `jsonl`, whose events are the result. */
export interface Renderer {
  view(view: RunView): void;
  build(entry: BuildLogEntry): void;
  /** something to say beside the run's own progress: "reconnecting", "detached" */
  notice(text: string): void;
  /** called about every 100 ms */
  tick(): void;
  /** nothing comes after it; what was redrawn stays as it is */
  end(): void;
}

export type Write = (text: string) => void;
export type RendererDeps = { readonly write: Write; readonly now: () => number };

/** Shows nothing. */
export const quietRenderer: Renderer = { view: () => {}, build: () => {}, notice: () => {}, tick: () => {}, end: () => {} };
