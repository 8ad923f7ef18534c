import { randomUUID } from "node:crypto";

/** The ids under which this process writes to the bucket at the moment: whatever else carries its name is of a former life, or was given up. */
export type OpenIds = {
  /** A fresh id, known before anything is written under it. */
  open(): string;
  /** From a while later on, what is still in the bucket under it counts as left behind. */
  close(id: string): void;
  has(id: string): boolean;
};

/** @param graceMs how long a request that was given up may still have an effect in S3 */
export function createOpenIds({ graceMs }: { graceMs: number }): OpenIds {
  const ids = new Set<string>();
  return {
    open: () => {
      const id = randomUUID().replaceAll("-", "");
      ids.add(id);
      return id;
    },
    close: (id) => void setTimeout(() => ids.delete(id), graceMs).unref(),
    has: (id) => ids.has(id),
  };
}
