import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

/** Spaces out bytes so that, over all streams together, no more than the limit pass in a second. */
export type Pace = { slow(stream: Readable, signal: AbortSignal): Readable };

export function createPace(bytesPerSecond: number): Pace {
  let freeAtMs = 0;

  async function waitFor(bytes: number, signal: AbortSignal): Promise<void> {
    const startMs = Math.max(Date.now(), freeAtMs);
    freeAtMs = startMs + (bytes / bytesPerSecond) * 1000;
    const waitMs = startMs - Date.now();
    if (waitMs > 0) await sleep(waitMs, undefined, { signal });
  }

  return {
    slow(stream, signal) {
      async function* spaced(): AsyncGenerator<Buffer> {
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          await waitFor(chunk.length, signal);
          yield chunk;
        }
      }
      const slowed = Readable.from(spaced(), { objectMode: false });
      slowed.once("close", () => stream.destroy());
      return slowed;
    },
  };
}
