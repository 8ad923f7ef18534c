/** The middle value; of an even number the lower middle, so that the figure is one that was measured. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  if (middle === undefined) throw new RangeError("Cannot take the median of nothing");
  return middle;
}

export const rounded = (value: number, digits = 0): number => Number(value.toFixed(digits));

/** min, median and max of what was measured, in the unit of the values. */
export function spread(values: readonly number[], digits = 0): { min: number; median: number; max: number; runs: number } {
  return {
    min: rounded(Math.min(...values), digits),
    median: rounded(median(values), digits),
    max: rounded(Math.max(...values), digits),
    runs: values.length,
  };
}
