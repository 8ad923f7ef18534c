import { setTimeout as sleep } from "node:timers/promises";

export type ByteRate = {
  /** Undefined when so many bytes may pass at once, else a promise of that. Rejects with the signal's reason. */
  take(bytes: number, signal: AbortSignal): Promise<void> | undefined;
};

export type Clock = { readonly nowMs: () => number; readonly wait: (forMs: number, signal: AbortSignal) => Promise<void> };

const realClock: Clock = {
  nowMs: () => performance.now(),
  wait: (forMs, signal) => sleep(forMs, undefined, { signal }).catch(() => signal.throwIfAborted()),
};

/**
 * A token bucket that holds a second's worth. Whoever takes more than is there owes it, and waits until it is paid; so whoever comes at
 * once with others waits for their share, too, and together they never pass more than the rate.
 */
export function createByteRate(bytesPerSecond: number, { nowMs, wait }: Clock = realClock): ByteRate {
  let tokens = bytesPerSecond;
  let filledAtMs = nowMs();
  return {
    take(bytes, signal) {
      const atMs = nowMs();
      tokens = Math.min(bytesPerSecond, tokens + ((atMs - filledAtMs) / 1000) * bytesPerSecond) - bytes;
      filledAtMs = atMs;
      if (tokens >= 0) return undefined;
      return wait((-tokens / bytesPerSecond) * 1000, signal);
    },
  };
}
