import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createKeyedQueue } from "../../../config/keyed-queue.ts";

describe("a keyed queue", () => {
  it("runs the tasks of one key one after another and those of two keys side by side", async () => {
    const queue = createKeyedQueue();
    const seen: string[] = [];
    const task = (name: string) => async () => {
      seen.push(`${name} begins`);
      await sleep(5);
      seen.push(`${name} ends`);
    };
    await Promise.all([queue("a", task("a1")), queue("a", task("a2")), queue("b", task("b1"))]);
    expect(seen.filter((line) => line.startsWith("a"))).toEqual(["a1 begins", "a1 ends", "a2 begins", "a2 ends"]);
    expect(seen.indexOf("b1 begins")).toBeLessThan(seen.indexOf("a1 ends"));
  });

  it("goes on after a task that failed", async () => {
    const queue = createKeyedQueue();
    const failed = queue("a", () => Promise.reject(new Error("broken")));
    const after = queue("a", async () => "ran");
    await expect(failed).rejects.toThrow("broken");
    await expect(after).resolves.toBe("ran");
  });
});
