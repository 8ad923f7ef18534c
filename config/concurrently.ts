/** Does something with each of many, at most `atATime` of them at once. The first failure ends it, after those under way have ended. */
export async function concurrently<T>(
  items: AsyncIterable<T> | Iterable<T>,
  atATime: number,
  act: (item: T) => Promise<void>,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  const failures: unknown[] = [];
  for await (const item of items) {
    if (failures.length > 0) break;
    const acting = act(item)
      .catch((error: unknown) => void failures.push(error))
      .finally(() => underWay.delete(acting));
    underWay.add(acting);
    if (underWay.size >= atATime) await Promise.race(underWay);
  }
  await Promise.all(underWay);
  if (failures.length > 0) throw failures[0] as Error;
}

/** As `concurrently`; the first failure also aborts what is under way with it, and so does `signal`. */
export async function concurrentlyOrStop<T>(
  items: Iterable<T>,
  { atATime, signal }: { readonly atATime: number; readonly signal: AbortSignal },
  act: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failing = new AbortController();
  const either = AbortSignal.any([signal, failing.signal]);
  await concurrently(items, atATime, async (item) => {
    try {
      either.throwIfAborted();
      await act(item, either);
    } catch (error) {
      failing.abort(error);
      throw error;
    }
  });
}
