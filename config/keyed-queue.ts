/** Runs tasks of one key one after another and those of different keys side by side. */
export type KeyedQueue = {
  <T>(key: string, task: () => Promise<T>): Promise<T>;
  /** Resolves once nothing is under way. */
  idle(): Promise<void>;
};

export function createKeyedQueue(): KeyedQueue {
  const last = new Map<string, Promise<unknown>>();
  const run = <T>(key: string, task: () => Promise<T>): Promise<T> => {
    const turn = (last.get(key) ?? Promise.resolve()).then(task, task);
    const settled = turn
      .catch(() => undefined)
      .then(() => {
        if (last.get(key) === settled) last.delete(key);
      });
    last.set(key, settled);
    return turn;
  };
  const idle = async (): Promise<void> => {
    while (last.size > 0) await Promise.all(last.values());
  };
  return Object.assign(run, { idle });
}
