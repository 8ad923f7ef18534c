import { expect, test } from "vitest";
import { createTurns } from "../../../config/turns.ts";

test("turns come at an even rate however many ask at once, and at once to who comes late", async () => {
  let nowMs = 0;
  const slept: number[] = [];
  const turns = createTurns(500, { now: () => nowMs, sleep: async (ms) => void slept.push(ms) });
  await Promise.all(Array.from({ length: 4 }, () => turns(1)));
  expect(slept).toEqual([2, 4, 6]);
  nowMs = 100;
  await turns(1);
  expect(slept).toHaveLength(3);
});
