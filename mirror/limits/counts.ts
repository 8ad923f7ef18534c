/** Of each of many, how many there are now; who has none takes no memory. */
export type Counts = {
  readonly total: number;
  of(name: string): number;
  /** Counts one more until its disposal. */
  add(name: string): Disposable;
};

export function createCounts(): Counts {
  const counts = new Map<string, number>();
  let total = 0;
  return {
    get total() {
      return total;
    },
    of: (name) => counts.get(name) ?? 0,
    add(name) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
      total += 1;
      let over = false;
      return {
        [Symbol.dispose]() {
          if (over) return;
          over = true;
          total -= 1;
          const left = counts.get(name)! - 1;
          if (left === 0) counts.delete(name);
          else counts.set(name, left);
        },
      };
    },
  };
}
