const longestPauseMs = 60_000;
/** A machine that lived so long is no crash loop: its next end is its first. */
const settledMs = 60_000;

/** Of one machine; `dueAtMs` is there while its process is gone. */
export type Restarts = { readonly inARow: number; readonly startedAtMs: number; readonly dueAtMs?: number };

/** Its process is gone: it is to be started again at once, then after 1, 2, 4 … 60 s when it goes on ending. */
export function foundGone(restarts: Restarts | undefined, nowMs: number): Restarts & { readonly dueAtMs: number } {
  if (restarts?.dueAtMs !== undefined) return { ...restarts, dueAtMs: restarts.dueAtMs };
  if (restarts === undefined || nowMs - restarts.startedAtMs >= settledMs) return { inARow: 0, startedAtMs: nowMs, dueAtMs: nowMs };
  return { ...restarts, dueAtMs: nowMs + Math.min(longestPauseMs, 1000 * 2 ** (restarts.inARow - 1)) };
}

/** It was tried, whether or not it came up. */
export function triedAgain(restarts: Restarts, nowMs: number): Restarts {
  return { inARow: restarts.inARow + 1, startedAtMs: nowMs };
}
