import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { identifyProcess, isRunning, startTicksOf, thisProcess } from "../../../config/process-identity.ts";

const statOf = (name: string, state: string) => `42 (${name}) ${state} 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 100`;

test("the start of a process is field 22 of its stat", () => {
  expect(startTicksOf(statOf("node", "S"))).toBe("987654");
});

test("a name with spaces and parentheses shifts no field", () => {
  expect(startTicksOf(statOf("evil) R 1 (name", "S"))).toBe("987654");
});

test("a zombie does not run", () => {
  expect(startTicksOf(statOf("node", "Z"))).toBeUndefined();
});

test("this process runs", () => {
  expect(isRunning(thisProcess())).toBe(true);
});

test("another process with the same pid is another process", () => {
  expect(isRunning({ ...thisProcess(), startTicks: "1" })).toBe(false);
  expect(isRunning({ ...thisProcess(), bootId: "another boot" })).toBe(false);
});

test("an ended process has no identity", () => {
  const { pid } = spawnSync("true");
  expect(identifyProcess(pid)).toBeUndefined();
});
