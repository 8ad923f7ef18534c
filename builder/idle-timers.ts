import type { IdleStep } from "./idle-policy.ts";

export type IdleTimers = {
  /** Starts the org's timer, or starts it over; without a step there is none. */
  arm(org: string, step: IdleStep | undefined): void;
  disarm(org: string): void;
  /** No timer fires any more, nor can one be armed. */
  close(): void;
};

/** One timer per org; it does not keep the process alive. */
export function createIdleTimers(onIdle: (org: string, action: IdleStep["action"]) => void): IdleTimers {
  const timers = new Map<string, NodeJS.Timeout>();
  let closed = false;
  const disarm = (org: string) => {
    clearTimeout(timers.get(org));
    timers.delete(org);
  };
  return {
    arm(org, step) {
      disarm(org);
      if (step === undefined || closed) return;
      const fire = () => {
        timers.delete(org);
        onIdle(org, step.action);
      };
      timers.set(org, setTimeout(fire, step.afterMs).unref());
    },
    disarm,
    close() {
      closed = true;
      for (const org of timers.keys()) disarm(org);
    },
  };
}
