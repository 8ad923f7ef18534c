import { randomUUID } from "node:crypto";
import { open, unlink } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { type Deferred, deferred } from "../../config/deferred.ts";

/** Bytes that one writes while any number read, each at its own pace: memory is bounded, and a slow reader slows nobody. */
export type Spool = {
  readonly writtenBytes: number;
  append(chunk: Uint8Array): Promise<void>;
  /** All bytes are right. Until then the last byte is held back, so that nobody takes wrong bytes for whole. */
  complete(): void;
  /** Whether a reader got bytes: these cannot be taken back. */
  readonly hasGiven: boolean;
  /** Begins again, for readers who got nothing yet. */
  restart(): void;
  /** Readers that are not through get this error. */
  fail(error: unknown): void;
  /** Follows the writer from `first` to `last`, both inclusive. */
  read(first: number, last: number): Readable;
  /** Nothing more is written; the file goes when its last reader has gone. */
  close(): Promise<void>;
};

export type SpoolOptions = {
  readonly dir: string;
  readonly sizeBytes: number;
  /** hears that the disk has the bytes back */
  readonly freed?: () => void;
};

const readBytes = 256 * 1024;
/** Readers of less can wait for all of it: most configs are smaller. */
const heldWholeBytes = 64 * 1024;

/** Opens a file without a name: nothing of it stays, however the process ends. */
export async function openSpool({ dir, sizeBytes, freed }: SpoolOptions): Promise<Spool> {
  const file = path.join(dir, randomUUID());
  const handle = await open(file, "wx+", 0o600);
  await unlink(file);
  let writtenBytes = 0;
  let isComplete = false;
  let failure: { readonly error: unknown } | undefined;
  let progress: Deferred<void> = deferred();
  let readers = 0;
  let isClosed = false;
  let hasGiven = false;
  const heldBytes = sizeBytes <= heldWholeBytes ? sizeBytes : 1;

  async function free(): Promise<void> {
    try {
      await handle.close();
    } finally {
      freed?.();
    }
  }

  function announce(): void {
    const before = progress;
    progress = deferred();
    before.resolve();
  }

  async function* follow(first: number, last: number): AsyncGenerator<Buffer> {
    for (let position = first; position <= last;) {
      const next = progress.promise;
      const readableBytes = Math.min(isComplete ? sizeBytes : Math.min(writtenBytes, sizeBytes - heldBytes), last + 1);
      if (position < readableBytes) {
        hasGiven = true;
        const buffer = Buffer.allocUnsafe(Math.min(readBytes, readableBytes - position));
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
        if (bytesRead === 0) throw new Error(`Cannot read spool: it ends at ${position}, expected ${sizeBytes} bytes`);
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      } else {
        if (failure !== undefined) throw failure.error;
        await next;
      }
    }
  }

  return {
    get writtenBytes() {
      return writtenBytes;
    },
    get hasGiven() {
      return hasGiven;
    },
    restart() {
      writtenBytes = 0;
    },
    async append(chunk) {
      for (let taken = 0; taken < chunk.length;) {
        taken += (await handle.write(chunk, taken, chunk.length - taken, writtenBytes + taken)).bytesWritten;
      }
      writtenBytes += chunk.length;
      announce();
    },
    complete() {
      isComplete = true;
      announce();
    },
    fail(error) {
      failure = { error };
      announce();
    },
    read(first, last) {
      readers += 1;
      const body = Readable.from(follow(first, last), { objectMode: false, highWaterMark: readBytes });
      body.once("close", () => {
        readers -= 1;
        if (readers === 0 && isClosed) void free().catch(() => undefined);
      });
      return body;
    },
    async close() {
      isClosed = true;
      if (readers === 0) await free();
    },
  };
}
