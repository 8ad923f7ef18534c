import { diskOf } from "../../containerd/disk.ts";
import { DistributionError } from "../../oci/errors.ts";

/** What stays free unless the settings say otherwise: room for a release to be switched back, for logs, for containerd's own database. */
const floorBytes = 2 * 1024 ** 3;
const floorShare = 0.05;

/** An answer of the disk is good for so long: many uploads ask at once. */
const freshMs = 50;
/** A prune, or the end of what fills the disk, may have made room by then. */
const retryAfterSeconds = 30;

/** A room that can be asked for so many bytes more. */
export type FreeSpace = { require(signal: AbortSignal, moreBytes?: number): Promise<void> };

/**
 * The floor under the free space of the disks that hold `folders`: 2 GiB or 5 % of the disk, whichever is less, or as the settings have
 * it. What is asked for one is refused with DISK_FULL (503): the client did nothing wrong and the same push may pass later.
 */
export function createFreeSpace(folders: readonly string[], freeBytes?: number): FreeSpace {
  let asked: { readonly atMs: number; readonly spare: Promise<number> } | undefined;

  /** bytes above the floor, on the disk that has the fewest */
  async function measure(): Promise<number> {
    const spares = await Promise.all(
      folders.map(async (folder) => {
        const disk = await diskOf(folder);
        return disk.freeBytes - (freeBytes ?? Math.min(floorBytes, disk.totalBytes * floorShare));
      }),
    );
    return Math.min(...spares);
  }

  return {
    async require(signal, moreBytes = 0) {
      signal.throwIfAborted();
      if (asked === undefined || performance.now() - asked.atMs > freshMs) asked = { atMs: performance.now(), spare: measure() };
      const spareBytes = Math.floor(await asked.spare);
      if (spareBytes >= moreBytes) return;
      throw new DistributionError("DISK_FULL", { spareBytes, neededBytes: moreBytes, retryAfterSeconds });
    },
  };
}

/** For a floor of zero, and where the disk cannot be seen: containerd alone says when it is full. */
export const unboundedSpace: FreeSpace = { require: async () => undefined };
