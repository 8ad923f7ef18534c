import { createFairTurns } from "../limits/fair-turns.ts";
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

export function createApplyTurns({ most = 3, room }: ApplyTurnsOptions = {}): ApplyTurns {
  // a layer that takes for ever, or unpacks to no end, keeps its turn: one is always left for other orgs
  const turns = createFairTurns(most, Math.max(1, most - 1));
  return {
    async take(org, signal, task) {
      using _turn = await turns.acquire(org, signal);
      return await (room === undefined ? task(signal) : whileRoom(room, signal, task));
    },
  };
}
