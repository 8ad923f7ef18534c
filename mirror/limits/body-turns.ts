import { type FairTurns, createFairTurns } from "./fair-turns.ts";

export type BodyTurnsOptions = {
  /** bodies on their way into containerd at once, each with up to 2 MiB in memory; 16 */
  readonly most?: number;
  /** what a body may bring in before it lets others come in, if any wait; 8 MiB */
  readonly quantumBytes?: number;
  /** how long a body may keep its turn, however little it sends, if others wait; 1 s */
  readonly quantumMs?: number;
  /** a client that sends nothing for so long lets others come in, if any wait; 100 ms */
  readonly idleMs?: number;
};

/** The turns of one upload's bodies. Disposing gives back the turn it may have; the next chunk asks for another. */
export type BodyTurn = Disposable & {
  /** Runs `write` in a turn, at once when there is one. Undefined when the next chunk may come at once, else a promise of that. */
  pass(sizeBytes: number, write: () => Promise<void> | undefined, signal: AbortSignal): Promise<void> | undefined;
};

export type BodyTurns = { of(org: string): BodyTurn };

/**
 * Bounds the memory of all uploads of a mirror together, however many are open, and shares what there is between the orgs: one that
 * pushes a hundred layers gets half as soon as another pushes one. Who has no turn waits in its socket.
 */
export function createBodyTurns({
  most = 16,
  quantumBytes = 8 * 1024 * 1024,
  quantumMs = 1_000,
  idleMs = 100,
}: BodyTurnsOptions = {}): BodyTurns {
  const turns = createFairTurns(most);
  const holders = new Set<{ lapse(beforeMs: number): void }>();
  let watching: NodeJS.Timeout | undefined;

  /** Slow clients must not keep turns from others; one that waits for containerd keeps its own, as its bytes are in memory. */
  function watchSlowClients(): void {
    watching ??= setInterval(() => {
      for (const holder of holders) if (turns.contended) holder.lapse(performance.now() - idleMs);
      if (turns.contended) return;
      clearInterval(watching);
      watching = undefined;
    }, idleMs).unref();
  }

  return { of: (org) => createTurn({ org, turns, holders, quantumBytes, quantumMs, watchSlowClients }) };
}

type TurnParts = {
  readonly org: string;
  readonly turns: FairTurns;
  readonly holders: Set<{ lapse(beforeMs: number): void }>;
  readonly quantumBytes: number;
  readonly quantumMs: number;
  readonly watchSlowClients: () => void;
};

function createTurn({ org, turns, holders, quantumBytes, quantumMs, watchSlowClients }: TurnParts): BodyTurn {
  let turn: Disposable | undefined;
  let passedBytes = 0;
  let writing = false;
  let lastAtMs = 0;
  let heldSinceMs = 0;
  const holder = {
    lapse(beforeMs: number) {
      if (!writing && lastAtMs < beforeMs) giveBack();
    },
  };

  /** By time as well: a byte now and then would keep a turn for ever. */
  const isUsedUp = (): boolean => passedBytes >= quantumBytes || performance.now() - heldSinceMs >= quantumMs;

  function giveBack(): void {
    turn?.[Symbol.dispose]();
    turn = undefined;
    passedBytes = 0;
    holders.delete(holder);
  }

  function run(sizeBytes: number, write: () => Promise<void> | undefined): Promise<void> | undefined {
    passedBytes += sizeBytes;
    lastAtMs = performance.now();
    const written = write();
    if (written === undefined) return undefined;
    writing = true;
    return written.finally(() => {
      writing = false;
      lastAtMs = performance.now();
    });
  }

  function hold(acquired: Disposable): void {
    turn = acquired;
    heldSinceMs = performance.now();
    holders.add(holder);
  }

  return {
    pass(sizeBytes, write, signal) {
      if (turns.contended && isUsedUp()) giveBack();
      if (turn !== undefined) return run(sizeBytes, write);
      const free = turns.tryAcquire(org);
      if (free !== undefined) {
        hold(free);
        return run(sizeBytes, write);
      }
      const acquiring = turns.acquire(org, signal);
      watchSlowClients();
      return acquiring.then((acquired) => {
        hold(acquired);
        return run(sizeBytes, write);
      });
    },
    [Symbol.dispose]: giveBack,
  };
}
