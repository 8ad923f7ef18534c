import { type Room, whileRoom } from "../limits/room.ts";

/** Turns for applying layers, for all orgs of a mirror together. */
export type ApplyTurns = {
  /**
   * Runs the task in its turn; the task's own signal ends also when the disk gets short.
   * @throws the signal's reason when that fires before, and whatever the task or `room` throws.
   */
  take<T>(org: string, signal: AbortSignal, task: (signal: AbortSignal) => Promise<T>): Promise<T>;
};

export type ApplyTurnsOptions = {
  /** decompression and the creation of files are bound by processors and disk: more at once only adds memory; 3 */
  readonly most?: number;
  /** absent: the disk is never short */
  readonly room?: Room;
};

type Waiting = { readonly org: string; readonly begin: () => void };

/** A free turn goes to the org that has the fewest, and among equals to the one that has waited longest. */
export function createApplyTurns({ most = 3, room }: ApplyTurnsOptions = {}): ApplyTurns {
  const running = new Map<string, number>();
  const waiting = new Set<Waiting>();
  let taken = 0;

  function next(): void {
    while (taken < most && waiting.size > 0) {
      const [first] = [...waiting].toSorted((one, other) => (running.get(one.org) ?? 0) - (running.get(other.org) ?? 0));
      waiting.delete(first!);
      begin(first!.org);
      first!.begin();
    }
  }

  function begin(org: string): void {
    taken += 1;
    running.set(org, (running.get(org) ?? 0) + 1);
  }

  function end(org: string): void {
    taken -= 1;
    const left = running.get(org)! - 1;
    if (left === 0) running.delete(org);
    else running.set(org, left);
    next();
  }

  function wait(org: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry: Waiting = {
        org,
        begin() {
          signal.removeEventListener("abort", giveUp);
          resolve();
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
  }

  return {
    async take(org, signal, task) {
      signal.throwIfAborted();
      await wait(org, signal);
      try {
        return await (room === undefined ? task(signal) : whileRoom(room, signal, task));
      } finally {
        end(org);
      }
    },
  };
}
