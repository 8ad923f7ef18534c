import type { Readable } from "node:stream";

/** The request failed, not the storage: what came before it counts. */
export class BrokenBody extends Error {
  override readonly cause: unknown;
  constructor(cause: unknown) {
    super("Cannot read body: it broke off");
    this.cause = cause;
  }
}

/**
 * Hands each chunk of a body on to `take`, which answers undefined when it wants the next at once, else a promise of that. Chunks come as
 * they are read from the socket: iterating over the body would join them first, which copies every byte.
 * @throws BrokenBody when the body ends before its end or `signal` does, and whatever else `take` throws; only after `take` has settled.
 */
export function receiveBody(body: Readable, take: (chunk: Uint8Array) => Promise<void> | undefined, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let waiting: Promise<void> | undefined;
    let over = false;

    const end = (result: { readonly error?: unknown }): void => {
      if (over) return;
      over = true;
      body.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose);
      // what is destroyed may still report an error
      body.on("error", () => undefined);
      if ("error" in result) body.destroy();
      const settle = () => ("error" in result ? reject(result.error as Error) : resolve());
      if (waiting === undefined) settle();
      else waiting.then(settle, reject);
    };
    // what is thrown into a stream ends the process
    const takeChunk = (chunk: Uint8Array): Promise<void> | undefined => {
      try {
        return take(chunk);
      } catch (error) {
        end({ error });
        return undefined;
      }
    };
    const onData = (chunk: Uint8Array): void => {
      if (signal.aborted) return end({ error: new BrokenBody(signal.reason) });
      const room = takeChunk(chunk);
      if (room === undefined) return;
      body.pause();
      waiting = room;
      room.then(
        () => {
          waiting = undefined;
          if (!over) body.resume();
        },
        (error: unknown) => {
          waiting = undefined;
          end({ error: signal.aborted && error === signal.reason ? new BrokenBody(error) : error });
        },
      );
    };
    const onEnd = (): void => end({});
    const onError = (error: Error): void => end({ error: new BrokenBody(error) });
    const onClose = (): void => {
      if (!body.readableEnded) end({ error: new BrokenBody(new Error("Cannot read body: it was closed before its end")) });
    };
    if (body.destroyed) return onClose();
    body.on("end", onEnd).on("error", onError).on("close", onClose).on("data", onData);
  });
}
