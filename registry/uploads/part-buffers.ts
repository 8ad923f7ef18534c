/** The memory that all uploads of a process share for parts on their way to S3; lent first come, first served. */
export type PartBuffers = {
  readonly memoryBytes: number;
  readonly lentBytes: number;
  /** somebody waits */
  readonly wanted: boolean;
  /** Waits until so much is free; more than all of it is lent only to whoever is alone. */
  acquire(sizeBytes: number, signal: AbortSignal): Promise<Buffer>;
  release(buffer: Buffer): void;
};

type Waiting = { readonly sizeBytes: number; readonly take: (buffer: Buffer) => void };

export function createPartBuffers(memoryBytes: number): PartBuffers {
  /** not lent, kept for the next of their size */
  let free: Buffer[] = [];
  let freeBytes = 0;
  let lentBytes = 0;
  const waiting: Waiting[] = [];

  const fits = (sizeBytes: number) => lentBytes === 0 || lentBytes + sizeBytes <= memoryBytes;
  const lend = (sizeBytes: number): Buffer => {
    lentBytes += sizeBytes;
    const at = free.findIndex(({ length }) => length === sizeBytes);
    const [found] = at === -1 ? [] : free.splice(at, 1);
    if (found !== undefined) {
      freeBytes -= sizeBytes;
      return found;
    }
    if (freeBytes + lentBytes > memoryBytes) [free, freeBytes] = [[], 0];
    return Buffer.allocUnsafeSlow(sizeBytes);
  };
  return {
    memoryBytes,
    get lentBytes() {
      return lentBytes;
    },
    get wanted() {
      return waiting.length > 0;
    },
    acquire: async (sizeBytes, signal) => {
      signal.throwIfAborted();
      if (waiting.length === 0 && fits(sizeBytes)) return lend(sizeBytes);
      return new Promise((resolve, reject) => {
        const entry: Waiting = {
          sizeBytes,
          take: (buffer) => {
            signal.removeEventListener("abort", giveUp);
            resolve(buffer);
          },
        };
        const giveUp = () => {
          waiting.splice(waiting.indexOf(entry), 1);
          reject(signal.reason as Error);
        };
        signal.addEventListener("abort", giveUp, { once: true });
        waiting.push(entry);
      });
    },
    release: (buffer) => {
      lentBytes -= buffer.length;
      free.push(buffer);
      freeBytes += buffer.length;
      while (waiting[0] !== undefined && fits(waiting[0].sizeBytes)) {
        const { sizeBytes, take } = waiting.shift()!;
        take(lend(sizeBytes));
      }
    },
  };
}
