import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockFile } from "../../../config/file-lock.ts";
import { thisProcess } from "../../../config/process-identity.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "slipway-lock-"));
});
afterEach(async () => await rm(dir, { recursive: true }));

const noWait = () => {
  throw new Error("waited for a lock that nobody holds");
};

test("a lock is held by one at a time", async () => {
  const file = path.join(dir, "lock");
  let inside = 0;
  let most = 0;
  const holders: number[] = [];
  const enter = async () => {
    await using _lock = await lockFile(file, ({ pid }) => holders.push(pid), AbortSignal.timeout(8_000));
    most = Math.max(most, ++inside);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside--;
  };
  await Promise.all([enter(), enter(), enter()]);
  expect(most).toBe(1);
  expect(holders).toContain(process.pid);
  expect(existsSync(file)).toBe(false);
});

test("the lock of a dead process is taken over", async () => {
  const file = path.join(dir, "lock");
  const { pid } = spawnSync("true");
  await writeFile(file, JSON.stringify({ ...thisProcess(), pid }));
  await using lock = await lockFile(file, noWait, AbortSignal.timeout(5_000));
  expect(lock.file).toBe(file);
});

test("a lock with a reused pid is taken over", async () => {
  const file = path.join(dir, "lock");
  await writeFile(file, JSON.stringify({ ...thisProcess(), startTicks: "1" }));
  await using lock = await lockFile(file, noWait, AbortSignal.timeout(5_000));
  expect(lock.file).toBe(file);
});

test("waiting ends with the signal", async () => {
  const file = path.join(dir, "lock");
  await using _held = await lockFile(file, noWait, AbortSignal.timeout(5_000));
  await expect(lockFile(file, () => undefined, AbortSignal.timeout(50))).rejects.toThrow("abort");
});
