import { type Target, targetKey } from "./routes.ts";

/** Requests and upgraded connections that are on their way to each target: a target that has none may be stopped. */
export type InFlight = {
  enter(target: Target): Disposable;
  count(target: Target): number;
  /** targets with at least one, by their key */
  all(): ReadonlyMap<string, number>;
};

export function createInFlight(): InFlight {
  const counts = new Map<string, number>();
  return {
    enter(target) {
      const key = targetKey(target);
      let left = false;
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return {
        [Symbol.dispose]() {
          if (left) return;
          left = true;
          const rest = (counts.get(key) ?? 1) - 1;
          if (rest === 0) counts.delete(key);
          else counts.set(key, rest);
        },
      };
    },
    count: (target) => counts.get(targetKey(target)) ?? 0,
    all: () => counts,
  };
}
