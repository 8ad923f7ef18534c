const names = ["SIGINT", "SIGTERM"] as const;

/** Ends the work in hand at the first Ctrl-C or SIGTERM; disposed of, signals mean what they meant before. */
export function abortOnSignals(): { readonly signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const abort = (name: NodeJS.Signals) => controller.abort(new Error(`Stopped by ${name}`));
  for (const name of names) process.once(name, abort);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const name of names) process.removeListener(name, abort);
    },
  };
}
