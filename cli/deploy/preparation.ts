import { CliError } from "../errors.ts";

export type Preparation = Disposable & {
  readonly signal: AbortSignal;
  /** One part failed: the others stop, too. What stopped it first stays the reason. */
  abandon(error: unknown): void;
};

/** Until the run is started, Ctrl-C and SIGTERM stop the work in hand and leave nothing behind. */
export function startPreparation(source: NodeJS.EventEmitter = process): Preparation {
  const stopped = new AbortController();
  const stop = (): void => stopped.abort(new CliError("Interrupted; nothing was started", { outcome: { kind: "interrupted" } }));
  source.on("SIGINT", stop);
  source.on("SIGTERM", stop);
  return {
    signal: stopped.signal,
    abandon: (error) => stopped.abort(error),
    [Symbol.dispose]: () => {
      source.off("SIGINT", stop);
      source.off("SIGTERM", stop);
    },
  };
}
