import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { identifyProcess } from "../../../config/process-identity.ts";
import { type ProcessName, processNames } from "../../../config/ready.ts";
import { runDoctor } from "../../../stack/doctor.ts";
import { leftovers } from "../../../stack/leftovers.ts";
import { startTestStack, type TestStack } from "../../support/stack.ts";

let stack: TestStack;
beforeAll(async () => {
  stack = await startTestStack();
});
afterAll(async () => await stack.stop());

async function pids(): Promise<Record<string, number | undefined>> {
  const { processes } = await stack.status();
  return Object.fromEntries(processes.map(({ name, pid }) => [name, pid]));
}

async function untilReady(): Promise<void> {
  while (!(await stack.status()).ready) await sleep(50);
}

test("every process of the stack serves", async () => {
  const { ready, processes } = await stack.status();
  expect(ready).toBe(true);
  expect(processes.map(({ name }) => name).toSorted()).toEqual([...processNames].toSorted());
});

test("doctor finds nothing wrong", async () => {
  const checks = await runDoctor(stack.settings, AbortSignal.timeout(60_000));
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
});

test("up on a stack that is up changes nothing", async () => {
  const before = await pids();
  expect(await stack.up()).toMatchObject({ changed: false });
  expect(await pids()).toEqual(before);
});

test.each<ProcessName>(["registry", "mirror", "router", "resolver", "control", "host", "containerd"])(
  "a killed %s comes back",
  async (name) => {
    const killed = stack.kill(name);
    while ((await pids())[name] === killed) await sleep(20);
    await untilReady();
    expect((await stack.status()).processes.find((process) => process.name === name)?.restarts).toBeGreaterThan(0);
  },
);

test("after its supervisor was killed, up takes over what runs", async () => {
  const before = await pids();
  stack.kill("supervisor");
  expect(await pids()).toEqual(before);
  expect(await stack.up()).toMatchObject({ changed: true });
  expect(await pids()).toEqual(before);
});

test("down leaves nothing of the instance on the host", async () => {
  const { settings } = stack;
  const before = await stack.status();
  await stack.stop();
  expect(await leftovers(settings, AbortSignal.timeout(10_000))).toEqual([]);
  expect(before.processes.filter(({ pid }) => pid !== undefined && identifyProcess(pid) !== undefined)).toEqual([]);
  expect(existsSync(settings.dataDir)).toBe(false);
  expect(existsSync(settings.runDir)).toBe(false);
});
