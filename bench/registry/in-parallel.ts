/** Acts on each item, at most `parallel` at a time. */
export async function inParallel<T>(parallel: number, items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const worker = async () => {
    for (const item of waiting) await act(item);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}
