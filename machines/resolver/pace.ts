import { setTimeout as delay } from "node:timers/promises";

/** Resolves when it is this one's turn. */
export type Pace = () => Promise<void>;

/** Turns at an even rate, for whoever comes with how many at once; in order. */
export function createPace(perSecond: number, clock = { now: () => performance.now(), sleep: (ms: number) => delay(ms) }): Pace {
  let nextMs = 0;
  return async () => {
    const nowMs = clock.now();
    const turnMs = Math.max(nextMs, nowMs);
    nextMs = turnMs + 1000 / perSecond;
    // a timer has whole milliseconds
    if (turnMs - nowMs >= 1) await clock.sleep(turnMs - nowMs);
  };
}
