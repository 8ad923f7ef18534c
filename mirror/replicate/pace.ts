import { Readable } from "node:stream";
import { createTurns } from "../../config/turns.ts";

/** Spaces out bytes so that, over all streams together, no more than the limit pass in a second. */
export type Pace = { slow(stream: Readable, signal: AbortSignal): Readable };

export function createPace(bytesPerSecond: number): Pace {
  const turns = createTurns(bytesPerSecond);
  return {
    slow(stream, signal) {
      async function* spaced(): AsyncGenerator<Buffer> {
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          await turns(chunk.length, signal);
          yield chunk;
        }
      }
      const slowed = Readable.from(spaced(), { objectMode: false });
      slowed.once("close", () => stream.destroy());
      return slowed;
    },
  };
}
