import { setTimeout as delay } from "node:timers/promises";

/** Resolves when it is this one's turn, whoever comes after waits for its share. Rejects with the signal's reason. */
export type Turns = (units: number, signal?: AbortSignal) => Promise<void>;

export type TurnClock = { readonly now: () => number; readonly sleep: (forMs: number, signal?: AbortSignal) => Promise<void> };

const realClock: TurnClock = { now: () => performance.now(), sleep: (forMs, signal) => delay(forMs, undefined, { signal }) };

/** So many units in a second at an even rate, for whoever comes with how many at once; in order. */
export function createTurns(unitsPerSecond: number, clock: TurnClock = realClock): Turns {
  let freeAtMs = 0;
  return async (units, signal) => {
    const nowMs = clock.now();
    const turnMs = Math.max(freeAtMs, nowMs);
    freeAtMs = turnMs + (units / unitsPerSecond) * 1000;
    // a timer has whole milliseconds
    if (turnMs - nowMs >= 1) await clock.sleep(turnMs - nowMs, signal);
  };
}
