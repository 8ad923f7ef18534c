import { orAborted } from "../../config/or-aborted.ts";
import type { ReadyImage, WantedImage } from "./fetch-image.ts";

/** Images on their way to this host, each fetched once however many want it. */
export type ImageFetches = AsyncDisposable & {
  /** Rejects with the signal's reason when that fires first; the fetch ends when nobody wants it any more. @throws as `fetchImage`. */
  fetch(wanted: WantedImage, signal: AbortSignal): Promise<ReadyImage>;
};

type Running = { readonly result: Promise<ReadyImage>; readonly stop: AbortController; wanted: number };

export function createImageFetches(fetchOne: (wanted: WantedImage, signal: AbortSignal) => Promise<ReadyImage>): ImageFetches {
  const running = new Map<string, Running>();

  function begin(key: string, wanted: WantedImage): Running {
    const stop = new AbortController();
    const one: Running = { result: fetchOne(wanted, stop.signal), stop, wanted: 0 };
    running.set(key, one);
    void one.result.catch(() => undefined).finally(() => forget(key, one));
    return one;
  }

  function forget(key: string, one: Running): void {
    if (running.get(key) === one) running.delete(key);
  }

  return {
    async fetch(wanted, signal) {
      signal.throwIfAborted();
      const key = [wanted.repository, wanted.digest, wanted.tag ?? ""].join(" ");
      const one = running.get(key) ?? begin(key, wanted);
      one.wanted += 1;
      try {
        return await orAborted(one.result, signal);
      } finally {
        one.wanted -= 1;
        if (one.wanted === 0) {
          one.stop.abort(new Error("nobody wants the image any more"));
          forget(key, one);
        }
      }
    },
    async [Symbol.asyncDispose]() {
      const all = [...running.values()];
      for (const { stop } of all) stop.abort(new Error("the mirror stops"));
      await Promise.allSettled(all.map(({ result }) => result));
    },
  };
}
