import type { Bucket } from "../../../registry/bucket/bucket.ts";

export type Hold = {
  /** the call has come and waits */
  readonly reached: Promise<void>;
  release(): void;
};

export type PausableBucket = Bucket & {
  /** The next such call on a key that contains `part` waits, before anything is sent, until it is released. */
  holdBefore(operation: "get" | "putIf" | "delete", part: string): Hold;
};

/** A bucket whose calls a test can hold up, so that two parties take turns as the test says. */
export function createPausableBucket(bucket: Bucket): PausableBucket {
  const holds: { readonly operation: string; readonly part: string; readonly arrive: () => void; readonly released: Promise<void> }[] = [];
  const pass = async (operation: string, key: string): Promise<void> => {
    const at = holds.findIndex((hold) => hold.operation === operation && key.includes(hold.part));
    if (at === -1) return;
    const [hold] = holds.splice(at, 1);
    hold!.arrive();
    await hold!.released;
  };
  return {
    ...bucket,
    get: async (key, signal) => {
      await pass("get", key);
      return bucket.get(key, signal);
    },
    putIf: async (condition, key, ...rest) => {
      await pass("putIf", key);
      return bucket.putIf(condition, key, ...rest);
    },
    delete: async (key, ...rest) => {
      await pass("delete", key);
      return bucket.delete(key, ...rest);
    },
    holdBefore: (operation, part) => {
      const { promise: reached, resolve: arrive } = Promise.withResolvers<void>();
      const { promise: released, resolve: release } = Promise.withResolvers<void>();
      holds.push({ operation, part, arrive, released });
      return { reached, release };
    },
  };
}
