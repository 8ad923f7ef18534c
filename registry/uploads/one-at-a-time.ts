/** Calls with the same id wait for each other: a client that reconnects may overtake the end of its own broken request. */
export type OneAtATime = {
  <T>(id: string, act: () => Promise<T>): Promise<T>;
  /** Resolves once nothing is under way. */
  idle(): Promise<void>;
};

export function createOneAtATime(): OneAtATime {
  const turns = new Map<string, Promise<unknown>>();
  const run = <T>(id: string, act: () => Promise<T>): Promise<T> => {
    const result = (turns.get(id) ?? Promise.resolve()).then(act);
    const turn = result
      .catch(() => {})
      .then(() => {
        if (turns.get(id) === turn) turns.delete(id);
      });
    turns.set(id, turn);
    return result;
  };
  const idle = async (): Promise<void> => {
    while (turns.size > 0) await Promise.all(turns.values());
  };
  return Object.assign(run, { idle });
}
