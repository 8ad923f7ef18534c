import { setTimeout as sleep } from "node:timers/promises";

export type PruneWhenLowOptions = {
  readonly isLow: (signal: AbortSignal) => Promise<boolean>;
  /** begins a pass, unless one is under way */
  readonly prune: () => Promise<void>;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  readonly lookEveryMs?: number;
  /** a pass that made no room is not repeated sooner */
  readonly pruneEveryMs?: number;
};

/** Between the scheduled passes, looks whether the disk is short, and has the host pruned then. Nothing of the worker waits for it. */
export function startPruneWhenLow({
  isLow,
  prune,
  log,
  lookEveryMs = 30_000,
  pruneEveryMs = 15 * 60_000,
}: PruneWhenLowOptions): AsyncDisposable {
  const ending = new AbortController();
  let notBefore = 0;

  async function look(): Promise<void> {
    if (performance.now() < notBefore || !(await isLow(ending.signal))) return;
    log.info({}, "the disk is short: prune the host's images now");
    await prune();
    notBefore = performance.now() + pruneEveryMs;
  }

  const looking = (async () => {
    for (;;) {
      await look().catch((error: unknown) => {
        if (!ending.signal.aborted) log.warn({ error: String(error) }, "cannot look whether the disk is short");
      });
      await sleep(lookEveryMs, undefined, { signal: ending.signal });
    }
  })().catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      ending.abort();
      await looking;
    },
  };
}
