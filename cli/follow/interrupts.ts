import { deferred } from "../../config/deferred.ts";

/** What the user asks for while a run is followed. */
export type Interrupt = "detach" | "cancel";

/** The second Ctrl-C within this time cancels the run. */
export const secondInterruptMs = 3000;

export type Interrupts = Disposable & {
  /** Aborts when following is to end: on SIGTERM at once, on SIGINT at once too, so that the user sees that it was heard. */
  readonly detached: AbortSignal;
  /** Ctrl-C was pressed once: pressed again, it cancels */
  readonly mayStillCancel: boolean;
  /** Settles when it is certain what was meant. */
  decision(): Promise<Interrupt>;
};

/** First Ctrl-C detaches, a second one within 3 s cancels; SIGTERM (a CI job that is ended) detaches. */
export function listenForInterrupts(source: NodeJS.EventEmitter = process): Interrupts {
  const detach = new AbortController();
  const decided = deferred<Interrupt>();
  let timer: NodeJS.Timeout | undefined;
  const onInterrupt = (): void => {
    if (detach.signal.aborted) return decided.resolve("cancel");
    timer = setTimeout(() => decided.resolve("detach"), secondInterruptMs);
    detach.abort();
  };
  const onTerminate = (): void => {
    clearTimeout(timer);
    timer = undefined;
    detach.abort();
    decided.resolve("detach");
  };
  source.on("SIGINT", onInterrupt);
  source.on("SIGTERM", onTerminate);
  return {
    detached: detach.signal,
    get mayStillCancel() {
      return timer !== undefined;
    },
    decision: () => decided.promise,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      source.off("SIGINT", onInterrupt);
      source.off("SIGTERM", onTerminate);
    },
  };
}
