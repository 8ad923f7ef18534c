import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { concurrentlyOrStop } from "../../../config/concurrently.ts";

const never = new AbortController().signal;
const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true }));

describe("concurrentlyOrStop", () => {
  it("acts on each, so many at a time", async () => {
    let [running, most] = [0, 0];
    const seen: number[] = [];
    await concurrentlyOrStop([1, 2, 3, 4, 5], { atATime: 2, signal: never }, async (item) => {
      most = Math.max(most, (running += 1));
      await sleep(1);
      seen.push(item);
      running -= 1;
    });
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    expect(most).toBe(2);
  });

  it("throws the first failure after it has stopped what was under way, and begins no more", async () => {
    const begun: number[] = [];
    const acting = concurrentlyOrStop([1, 2, 3], { atATime: 2, signal: never }, async (item, signal) => {
      begun.push(item);
      if (item === 2) throw new Error("the second");
      await untilAborted(signal);
    });
    await expect(acting).rejects.toThrow("the second");
    expect(begun).toEqual([1, 2]);
  });

  it("ends with the signal's reason", async () => {
    const caller = new AbortController();
    const acting = concurrentlyOrStop([1], { atATime: 2, signal: caller.signal }, (_item, signal) => untilAborted(signal));
    caller.abort(new Error("enough"));
    await expect(acting).rejects.toThrow("enough");
  });
});
