import { readFileSync } from "node:fs";
import { readFile, readdir, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { instancePaths } from "../../../config/paths.ts";
import { machineMac } from "../../../machines/network/address-plan.ts";
import { restMs } from "../../../machines/network/resting.ts";
import type { MachineState } from "../../../machines/types.ts";
import { isAlive, page } from "./support/observe.ts";
import { kill, openWebLab, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

test("a machine answers under its IPv4 and IPv6 address and is answered as it is when started again", async () => {
  const machine = await lab.start("web-app-0-v1");
  expect(machine).toMatchObject({ org: lab.org, id: "web-app-0-v1", digest: lab.web.digest, state: "running" });
  const ipv6 = (
    JSON.parse(await readFile(`${instancePaths.machineDir(lab.settings, lab.org, machine.id)}/addresses.json`, "utf8")) as { ipv6: string }
  ).ipv6;
  for (const host of [machine.address!, `[${ipv6}]`]) expect(await page(`http://${host}/hosts`)).toContain("_api.internal");
  expect((await lab.start("web-app-0-v1")).pid).toBe(machine.pid);
  expect(await lab.machines.list({ org: lab.org }, signal)).toHaveLength(1);
  await lab.remove(machine.id);
  expect(await lab.machines.inspect(lab.org, machine.id, signal)).toBeUndefined();
  expect(isAlive(machine.pid!)).toBe(false);
});

test("an address is given to no other machine while the one that had it is stopped, and is free once that is removed", async () => {
  const stopped = await lab.start("holder");
  await lab.machines.stop(lab.org, "holder", kill, signal);
  const others = [await lab.start("other-0"), await lab.start("other-1")];
  expect(others.map(({ address }) => address)).not.toContain(stopped.address);
  for (const id of ["holder", "other-0", "other-1"]) await lab.remove(id);
  const { bridge } = await lab.machines.ensureNetwork(lab.org, signal);
  const held = await readdir(path.join(instancePaths.cniState(lab.settings), bridge));
  expect(held.filter((file) => /^10\.|^fd/.test(file))).toEqual([]);
});

test("an address is not given out again until all others were and it has rested, and then with the same link address", async () => {
  const macOf = ({ pid }: MachineState) => readFileSync(`/proc/${pid}/root/sys/class/net/eth0/address`, "utf8").trim();
  const sleeper = await lab.start("wakes");
  const first = await lab.start("first");
  await page(`http://${first.address}/hosts`);
  const mac = macOf(first);
  await lab.remove("first");
  await lab.machines.stop(lab.org, "wakes", kill, signal);
  expect((await lab.start("wakes")).address).toBe(sleeper.address);
  const second = await lab.start("second");
  expect(second.address).not.toBe(first.address);

  const { bridge } = await lab.machines.ensureNetwork(lab.org, signal);
  const hostPart = Number(first.address!.split(".")[3]);
  const itIsNextsTurn = () => writeFile(path.join(instancePaths.cniState(lab.settings), `${bridge}.last`), `${hostPart - 1}`);
  await itIsNextsTurn();
  const early = await lab.start("early");
  expect(early.address).not.toBe(first.address);

  const rested = new Date(Date.now() - restMs);
  await utimes(path.join(instancePaths.cniState(lab.settings), `${bridge}.resting`, `${hostPart}`), rested, rested);
  await itIsNextsTurn();
  const third = await lab.start("third");
  expect(third.address).toBe(first.address);
  expect(macOf(third)).toBe(mac);
  expect(macOf(third)).toBe(machineMac({ ipv4: third.address!, ipv6: "" }));
  for (const id of ["wakes", "second", "early", "third"]) await lab.remove(id);
});

test("machines that start at once have addresses of their own", async () => {
  const ids = Array.from({ length: 4 }, (_, index) => `at-once-${index}`);
  const started = await Promise.all(ids.map((id) => lab.start(id)));
  expect(new Set(started.map(({ address }) => address)).size).toBe(4);
  await Promise.all(ids.map((id) => lab.remove(id)));
});
