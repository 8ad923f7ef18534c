import { createCounts } from "./counts.ts";

/** A bounded number of turns for all orgs of a mirror together. */
export type FairTurns = {
  /** whether somebody waits for one */
  readonly contended: boolean;
  /** A turn, when one is free and nobody waits; it ends with its disposal. */
  tryAcquire(org: string): Disposable | undefined;
  /** Waits for one. Rejects with the signal's reason. */
  acquire(org: string, signal: AbortSignal): Promise<Disposable>;
};

type Waiting = { readonly org: string; readonly begin: () => void };

/**
 * A free turn goes to the org that has the fewest, and among equals to the one that has waited longest; none has more than `mostOfOne`, so
 * that turns which do not end by themselves are not all one org's.
 */
export function createFairTurns(most: number, mostOfOne = most): FairTurns {
  const running = createCounts();
  const waiting = new Set<Waiting>();

  function next(): void {
    while (running.total < most) {
      const [first] = [...waiting]
        .filter(({ org }) => running.of(org) < mostOfOne)
        .toSorted((one, other) => running.of(one.org) - running.of(other.org));
      if (first === undefined) return;
      waiting.delete(first);
      first.begin();
    }
  }

  function begin(org: string): Disposable {
    const turn = running.add(org);
    return {
      [Symbol.dispose]() {
        turn[Symbol.dispose]();
        next();
      },
    };
  }

  return {
    get contended() {
      return waiting.size > 0;
    },
    tryAcquire: (org) => (running.total < most && running.of(org) < mostOfOne && waiting.size === 0 ? begin(org) : undefined),
    async acquire(org, signal) {
      signal.throwIfAborted();
      return await new Promise((resolve, reject) => {
        const entry: Waiting = {
          org,
          begin() {
            signal.removeEventListener("abort", giveUp);
            resolve(begin(org));
          },
        };
        const giveUp = (): void => {
          waiting.delete(entry);
          reject(signal.reason as Error);
        };
        signal.addEventListener("abort", giveUp, { once: true });
        waiting.add(entry);
        next();
      });
    },
  };
}
