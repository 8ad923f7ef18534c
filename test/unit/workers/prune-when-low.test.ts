import { describe, expect, it } from "vitest";
import { startPruneWhenLow } from "../../../workers/prune-when-low.ts";

const silent = { info: () => undefined, warn: () => undefined };

describe("a disk that gets short between two scheduled prunes", () => {
  it("has the host pruned at the next look, and not again before that could have helped", async () => {
    const answers = [false, false, true];
    let prunes = 0;
    let looks = 0;
    const pruned = Promise.withResolvers<void>();
    await using _watch = startPruneWhenLow({
      isLow: async () => {
        looks += 1;
        return answers.shift() ?? true;
      },
      prune: async () => {
        prunes += 1;
        pruned.resolve();
      },
      log: silent,
      lookEveryMs: 1,
    });
    await pruned.promise;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([prunes, looks]).toEqual([1, 3]);
  });

  it("is looked at again when a look, or the call for a prune, fails", async () => {
    const failures = [new Error("containerd is away")];
    const warnings: object[] = [];
    let calls = 0;
    const pruned = Promise.withResolvers<void>();
    await using _watch = startPruneWhenLow({
      isLow: async () => {
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        return true;
      },
      prune: async () => {
        calls += 1;
        if (calls === 1) throw new Error("Temporal is away");
        pruned.resolve();
      },
      log: { ...silent, warn: (fields) => void warnings.push(fields) },
      lookEveryMs: 1,
    });
    await pruned.promise;
    expect(warnings).toEqual([{ error: "Error: containerd is away" }, { error: "Error: Temporal is away" }]);
  });
});
