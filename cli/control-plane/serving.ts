import type { AppState, RunView } from "../../workflows/types.ts";
import type { RunOutcome } from "./run-outcome.ts";

type Failed = Extract<RunOutcome, { kind: "failed" }>;

/** What serves of an app after a run that changed nothing, in words. */
export function servingWords(state: Pick<AppState, "current"> | undefined, run: Pick<RunView, "startedAtMs">): string {
  const release = state?.current?.release;
  if (release === undefined) return "nothing: this app has no earlier release";
  // a release bears the time at which its run began
  return release.createdAtMs > run.startedAtMs ? `v${release.version}, of a newer run` : `v${release.version}, as before`;
}

/** A run that failed before its turn does not know what serves, and one that failed a while ago knows no longer: the app does. */
export function withServing(outcome: Failed, state: Pick<AppState, "current"> | undefined): Failed {
  const { view } = outcome;
  if (view?.error === undefined) return outcome;
  return { ...outcome, view: { ...view, error: { ...view.error, serving: servingWords(state, view) } } };
}
