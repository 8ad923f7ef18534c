/** A fixed set of buffers that all uploads of a process share: their number times their size is the memory a push can take. */
export type PartBuffers = {
  readonly sizeBytes: number;
  /** somebody waits for one */
  readonly wanted: boolean;
  /** Waits for a free one, first come first served. */
  acquire(signal: AbortSignal): Promise<Buffer>;
  release(buffer: Buffer): void;
};

export function createPartBuffers({ count, sizeBytes }: { count: number; sizeBytes: number }): PartBuffers {
  const free: Buffer[] = [];
  const waiting: ((buffer: Buffer) => void)[] = [];
  let made = 0;
  return {
    sizeBytes,
    get wanted() {
      return waiting.length > 0;
    },
    acquire: async (signal) => {
      signal.throwIfAborted();
      const buffer = free.pop();
      if (buffer !== undefined) return buffer;
      if (made < count) {
        made += 1;
        return Buffer.allocUnsafeSlow(sizeBytes);
      }
      return new Promise((resolve, reject) => {
        const take = (given: Buffer) => {
          signal.removeEventListener("abort", giveUp);
          resolve(given);
        };
        const giveUp = () => {
          waiting.splice(waiting.indexOf(take), 1);
          reject(signal.reason as Error);
        };
        signal.addEventListener("abort", giveUp, { once: true });
        waiting.push(take);
      });
    },
    release: (buffer) => {
      const next = waiting.shift();
      if (next === undefined) free.push(buffer);
      else next(buffer);
    },
  };
}
