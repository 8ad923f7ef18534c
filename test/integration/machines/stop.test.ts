import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { instancePaths } from "../../../config/paths.ts";
import { rotateLog } from "../../../machines/logs/rotate.ts";
import { machineLogTail } from "../../../machines/logs/tail.ts";
import { isAlive, page, until } from "./support/observe.ts";
import { openWebLab, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

test("output goes to the machine's log, which can be cut while it is written", async () => {
  await lab.start("talker", ["sh", "-c", "n=0; while true; do n=$((n+1)); echo line $n; echo err $n >&2; sleep 0.02; done"]);
  await until(async () => (await machineLogTail(lab.settings, lab.org, "talker", 50)).includes("err 5"));
  const file = instancePaths.machineLog(lab.settings, lab.org, "talker");
  expect(await rotateLog(file, { maxBytes: 10, keep: 3 })).toBe(true);
  await until(async () => readFileSync(file, "utf8").includes("line"));
  expect(readFileSync(file).includes(0)).toBe(false);
  await lab.remove("talker");
  expect(existsSync(file)).toBe(true);
});

test("what a machine says on one of its streams after the other one ended is in its log", async () => {
  const late = (ended: 1 | 2, other: 1 | 2) => [
    "sh",
    "-c",
    `echo early >&${other}; exec ${ended}>&-; sleep 0.5; echo last words >&${other}`,
  ];
  for (const [id, args] of Object.entries({ "no-stdout": late(1, 2), "no-stderr": late(2, 1) })) {
    await lab.start(id, args);
    await until(async () => (await machineLogTail(lab.settings, lab.org, id, 10)).join() === "early,last words");
    await lab.remove(id);
  }
});

test("a stop sends the signal, waits, and keeps the container; start brings the machine back", async () => {
  const script = "trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 0.05; done";
  const first = await lab.start("stopper", ["sh", "-c", script]);
  await until(async () => (await machineLogTail(lab.settings, lab.org, "stopper", 5)).includes("ready"));
  await lab.machines.stop(lab.org, "stopper", { signal: "SIGTERM", timeoutMs: 10_000 }, signal);
  expect(await machineLogTail(lab.settings, lab.org, "stopper", 1)).toEqual(["bye"]);
  expect((await lab.machines.inspect(lab.org, "stopper", signal))?.state).toBe("stopped");
  const again = await lab.start("stopper", ["sh", "-c", script]);
  expect(again.state).toBe("running");
  expect(again.pid).not.toBe(first.pid);
  await lab.remove("stopper");
});

test("a machine that ignores its signal is killed", async () => {
  const machine = await lab.start("stubborn", ["sh", "-c", "trap '' TERM; while true; do sleep 0.05; done"]);
  await lab.machines.stop(lab.org, "stubborn", { signal: "SIGTERM", timeoutMs: 300 }, signal);
  expect(isAlive(machine.pid!)).toBe(false);
  await lab.remove("stubborn");
});

test("a machine that ended tells its exit code", async () => {
  await lab.start("exiter", ["sh", "-c", "exit 42"]);
  await until(async () => (await lab.machines.inspect(lab.org, "exiter", signal))?.state === "stopped");
  expect((await lab.machines.inspect(lab.org, "exiter", signal))?.exit?.code).toBe(42);
  await lab.remove("exiter");
});

test("a paused machine goes on where it was when resumed", async () => {
  const machine = await lab.start("sleeper");
  await lab.machines.pause(lab.org, "sleeper", signal);
  await lab.machines.pause(lab.org, "sleeper", signal);
  expect((await lab.machines.inspect(lab.org, "sleeper", signal))?.state).toBe("paused");
  await lab.machines.resume(lab.org, "sleeper", signal);
  expect(await page(`http://${machine.address}/hosts`)).toContain("sleeper");
  await lab.machines.pause(lab.org, "sleeper", signal);
  await lab.remove("sleeper");
  expect(isAlive(machine.pid!)).toBe(false);
});
