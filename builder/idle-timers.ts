export type IdleTimers = {
  /** Starts the org's timer, or starts it over. */
  arm(org: string): void;
  disarm(org: string): void;
  clear(): void;
};

/** One timer per org that fires after `timeoutMs` without use; it does not keep the process alive. */
export function createIdleTimers(timeoutMs: number, onIdle: (org: string) => void): IdleTimers {
  const timers = new Map<string, NodeJS.Timeout>();
  const disarm = (org: string) => {
    clearTimeout(timers.get(org));
    timers.delete(org);
  };
  return {
    arm(org) {
      disarm(org);
      timers.set(
        org,
        setTimeout(() => {
          timers.delete(org);
          onIdle(org);
        }, timeoutMs).unref(),
      );
    },
    disarm,
    clear() {
      for (const org of timers.keys()) disarm(org);
    },
  };
}
