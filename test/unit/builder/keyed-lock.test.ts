import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createKeyedLock } from "../../../builder/keyed-lock.ts";

const never = new AbortController().signal;

describe("the lock of an org's builder", () => {
  it("runs the tasks of one org one after another and those of two orgs side by side", async () => {
    const lock = createKeyedLock();
    const seen: string[] = [];
    const task = (name: string) => async () => {
      seen.push(`${name} begins`);
      await sleep(5);
      seen.push(`${name} ends`);
    };
    await Promise.all([lock("a", never, task("a1")), lock("a", never, task("a2")), lock("b", never, task("b1"))]);
    expect(seen.filter((line) => line.startsWith("a"))).toEqual(["a1 begins", "a1 ends", "a2 begins", "a2 ends"]);
    expect(seen.indexOf("b1 begins")).toBeLessThan(seen.indexOf("a1 ends"));
  });

  it("goes on after a task that failed, and skips one that was cancelled while it waited", async () => {
    const lock = createKeyedLock();
    const cancel = new AbortController();
    const failed = lock("a", never, () => Promise.reject(new Error("broken")));
    const skipped = lock("a", cancel.signal, async () => "ran");
    const after = lock("a", never, async () => "ran");
    cancel.abort(new Error("cancelled"));
    await expect(failed).rejects.toThrow("broken");
    await expect(skipped).rejects.toThrow("cancelled");
    await expect(after).resolves.toBe("ran");
  });
});
