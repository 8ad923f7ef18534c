/** Copies of short tails in memory, so that they need not be read from the bucket again; up to a limit for all uploads together. */
export type TailCache = {
  /** A copy, or undefined when there is no room for it. */
  keep(bytes: Buffer): Buffer | undefined;
  drop(kept: Buffer | undefined): void;
};

export function createTailCache(limitBytes: number): TailCache {
  let heldBytes = 0;
  return {
    keep: (bytes) => {
      if (heldBytes + bytes.length > limitBytes) return undefined;
      heldBytes += bytes.length;
      return Buffer.from(bytes);
    },
    drop: (kept) => {
      heldBytes -= kept?.length ?? 0;
    },
  };
}
