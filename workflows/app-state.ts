import { workflowIds } from "./ids.ts";
import type { AppState, HistoryEntry, MachineView, Release, TurnRequest } from "./types.ts";

/** What the `app` workflow has to tell whom after a change of its state. */
export type TurnNotice =
  | { readonly kind: "granted"; readonly to: TurnRequest & { readonly version: number } }
  | { readonly kind: "superseded"; readonly to: TurnRequest; readonly by: string };

export type Transition = { readonly state: AppState; readonly notices: readonly TurnNotice[] };

export type TurnOutcome = {
  readonly workflowId: string;
  readonly runId: string;
  readonly outcome: "live" | "failed" | "cancelled" | "lost";
  readonly atMs: number;
  readonly release?: Release;
  readonly machines?: readonly MachineView[];
  readonly url?: string;
};

const keptHistory = 50;

export const emptyAppState: AppState = { nextVersion: 1, waiting: [], history: [] };

/**
 * A run asks for its turn. Newest request wins: it takes the place of every older one that waits, and an older one that comes late,
 * after a newer one waits, holds the turn or went live, is superseded at once. The holder is never interrupted.
 */
export function requested(state: AppState, request: TurnRequest): Transition {
  if (isSameRun(state.holder, request)) return { state, notices: [{ kind: "granted", to: state.holder! }] };

  const newer = newestOf(state);
  if (newer !== undefined && newer.requestedAtMs > request.requestedAtMs && !isSameRun(newer, request)) {
    return { state, notices: [{ kind: "superseded", to: request, by: newer.workflowId }] };
  }
  const superseded = state.waiting.filter((other) => !isSameRun(other, request));
  const waiting: AppState = { ...state, waiting: [request] };
  const notices = superseded.map((other): TurnNotice => ({ kind: "superseded", to: other, by: request.workflowId }));
  return { state: waiting, notices };
}

/** The next in line gets the turn and with it the next version, when nobody holds it. */
export function granted(state: AppState): Transition {
  const next = state.waiting[0];
  if (state.holder !== undefined || next === undefined) return { state, notices: [] };
  const holder = { ...next, version: state.nextVersion };
  return {
    state: { ...state, nextVersion: state.nextVersion + 1, holder, waiting: state.waiting.slice(1) },
    notices: [{ kind: "granted", to: holder }],
  };
}

/** The holder has come to its end; anybody else's word about a turn is ignored. */
export function released(state: AppState, ended: TurnOutcome): AppState {
  const { holder, ...rest } = state;
  if (holder === undefined || !isSameRun(holder, ended)) {
    return { ...state, waiting: state.waiting.filter((other) => !isSameRun(other, ended)) };
  }
  const entry: HistoryEntry = { version: holder.version, workflowId: ended.workflowId, status: ended.outcome, atMs: ended.atMs };
  const history = [...state.history, entry].slice(-keptHistory);
  if (ended.outcome !== "live" || ended.release === undefined) return { ...rest, history };
  return {
    ...rest,
    history,
    currentRequestedAtMs: holder.requestedAtMs,
    current: { release: ended.release, machines: ended.machines ?? [], ...(ended.url === undefined ? {} : { url: ended.url }) },
  };
}

function newestOf(state: AppState): { workflowId: string; runId: string; requestedAtMs: number } | undefined {
  const live =
    state.current === undefined || state.currentRequestedAtMs === undefined
      ? []
      : [
          {
            workflowId: workflowIds.deploy(state.current.release.org, state.current.release.app, state.current.release.key),
            runId: state.current.release.runId,
            requestedAtMs: state.currentRequestedAtMs,
          },
        ];
  const holder = state.holder === undefined ? [] : [state.holder];
  return [...live, ...holder, ...state.waiting].toSorted((a, b) => b.requestedAtMs - a.requestedAtMs)[0];
}

function isSameRun(a: { workflowId: string; runId: string } | undefined, b: { workflowId: string; runId: string }): boolean {
  return a !== undefined && a.workflowId === b.workflowId && a.runId === b.runId;
}
