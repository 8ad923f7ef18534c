export type KeyedLock = <T>(key: string, signal: AbortSignal, task: () => Promise<T>) => Promise<T>;

/** Runs the tasks of one key one after another, in the order they came. A task whose signal fires while it waits is not run. */
export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<unknown>>();
  return async (key, signal, task) => {
    const before = tails.get(key) ?? Promise.resolve();
    const mine = before.then(() => {
      signal.throwIfAborted();
      return task();
    });
    const tail = mine.catch(() => undefined);
    tails.set(key, tail);
    try {
      return await mine;
    } finally {
      if (tails.get(key) === tail) tails.delete(key);
    }
  };
}
