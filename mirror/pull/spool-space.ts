import { mkdir } from "node:fs/promises";
import { DistributionError } from "../../oci/errors.ts";
import { type FreeSpace, unboundedSpace } from "../limits/free-space.ts";
import { type Spool, openSpool } from "./spool.ts";

export type SpoolSpaceOptions = {
  readonly dir: string;
  /** the floor under the disk of `dir` */
  readonly space?: FreeSpace;
  /** what all spools may take together; a larger one is let in alone */
  readonly totalBytes?: number;
};

/** Spools that leave the disk its floor. */
export type SpoolSpace = {
  /** @throws DistributionError DISK_FULL */
  open(sizeBytes: number, signal: AbortSignal): Promise<Spool>;
};

const defaultTotalBytes = 32 * 1024 ** 3;
/** The disk is looked at again after so many bytes: others fill it, too. */
const lookAgainBytes = 4 * 1024 * 1024;
const retryAfterSeconds = 5;

export function createSpoolSpace({ dir, space = unboundedSpace, totalBytes = defaultTotalBytes }: SpoolSpaceOptions): SpoolSpace {
  let reservedBytes = 0;
  let writtenBytes = 0;

  return {
    async open(sizeBytes, signal) {
      if (reservedBytes > 0 && reservedBytes + sizeBytes > totalBytes) {
        const detail = { neededBytes: sizeBytes, reservedBytes, totalBytes, retryAfterSeconds };
        throw new DistributionError("DISK_FULL", { ...detail, reason: "what is being fetched takes all that fetches may" });
      }
      reservedBytes += sizeBytes;
      let ownBytes = 0;
      const freed = (): void => {
        reservedBytes -= sizeBytes;
        writtenBytes -= ownBytes;
        ownBytes = 0;
      };
      let spool: Spool;
      try {
        await mkdir(dir, { recursive: true });
        // what others have yet to write is taken as well
        await space.require(signal, reservedBytes - writtenBytes);
        spool = await openSpool({ dir, sizeBytes, freed });
      } catch (error) {
        freed();
        throw error;
      }
      let lookedAtBytes = 0;
      return {
        ...spool,
        get writtenBytes() {
          return spool.writtenBytes;
        },
        get hasGiven() {
          return spool.hasGiven;
        },
        async append(chunk) {
          if (spool.writtenBytes - lookedAtBytes >= lookAgainBytes) {
            lookedAtBytes = spool.writtenBytes;
            await space.require(signal);
          }
          await spool.append(chunk);
          writtenBytes += chunk.length;
          ownBytes += chunk.length;
        },
        restart() {
          spool.restart();
          writtenBytes -= ownBytes;
          ownBytes = 0;
          lookedAtBytes = 0;
        },
      };
    },
  };
}
