/** The messages that containerd has not answered yet, as it does one after another: their count is the back-pressure. */
export type Unanswered = {
  readonly count: number;
  readonly failed: boolean;
  expect(): void;
  receive(): void;
  /** Whoever waits, now or later, gets the first failure. */
  fail(error: unknown): void;
  fewerThan(limit: number): Promise<void>;
};

export function createUnanswered(): Unanswered {
  let count = 0;
  let failure: { readonly error: unknown } | undefined;
  let wake = (): void => undefined;
  return {
    get count() {
      return count;
    },
    get failed() {
      return failure !== undefined;
    },
    expect() {
      count += 1;
    },
    receive() {
      count -= 1;
      wake();
    },
    fail(error) {
      failure ??= { error };
      wake();
    },
    async fewerThan(limit) {
      while (failure === undefined && count >= limit) await new Promise<void>((resolve) => (wake = resolve));
      if (failure !== undefined) throw failure.error;
    },
  };
}
