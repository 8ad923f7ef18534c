import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cgroupDirs, machineCgroup } from "../../../machines/cgroup.ts";
import { createMachines } from "../../../machines/machines.ts";
import { createOrgNetworks } from "../../../machines/network/org-networks.ts";
import { runProgram } from "../../../machines/run-program.ts";
import { teardownHost } from "../../../machines/teardown.ts";
import { isAlive, page } from "./support/observe.ts";
import { kill, openWebLab, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

test("a torn-down host holds nothing of ours, and what was not stopped on purpose can be brought back where it was", async () => {
  const ran = await lab.start("comes-back");
  await lab.start("stays-away");
  await lab.machines.stop(lab.org, "stays-away", kill, signal);
  const { bridge } = await lab.machines.ensureNetwork(lab.org, signal);
  await teardownHost(lab.settings, signal);
  expect(isAlive(ran.pid!)).toBe(false);
  expect(existsSync(`/sys/class/net/${bridge}`)).toBe(false);
  expect(await runProgram("nft", ["list", "tables"])).not.toContain(lab.settings.instance);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(lab.settings.dataDir);
  expect(existsSync(`/sys/fs/cgroup/pids/slipway/${lab.settings.instance}`)).toBe(false);
  expect(existsSync(`/sys/fs/cgroup/slipway/${lab.settings.instance}`)).toBe(false);
  await teardownHost(lab.settings, signal);

  const machines = createMachines({ containerd: lab.containerd, settings: lab.settings });
  await expect(machines.inspect(lab.org, "comes-back", signal)).resolves.toMatchObject({ state: "stopped", address: ran.address });
  const revived = await machines.revive(lab.org, "comes-back", signal);
  expect(revived).toMatchObject({ state: "running", address: ran.address });
  expect(await page(`http://${ran.address}/hosts`)).toContain("comes-back");
  expect((await machines.revive(lab.org, "comes-back", signal))?.pid).toBe(revived?.pid);
  expect(await machines.revive(lab.org, "stays-away", signal)).toBeUndefined();
  expect(await machines.revive(lab.org, "never-was", signal)).toBeUndefined();
  for (const id of ["comes-back", "stays-away"]) await machines.remove(lab.org, id, kill, signal);
});

test("a host whose containerd is dead is torn down all the same, which says what could not be asked", async () => {
  const settings = {
    ...lab.settings,
    instance: crypto.randomUUID().slice(0, 8),
    dataDir: `${lab.settings.dataDir}-dead`,
    containerd: { ...lab.settings.containerd, socket: "/nowhere/containerd.sock" },
  };
  const { network } = await createOrgNetworks(settings).ensure("acme", signal);
  const dir = (await cgroupDirs(machineCgroup(settings.instance, "acme", "left"))).find((path) => /pids|fs.cgroup.slipway/.test(path))!;
  await mkdir(dir, { recursive: true });
  const left = spawn("sleep", ["1000"], { stdio: "ignore" });
  await writeFile(`${dir}/cgroup.procs`, String(left.pid));
  await expect(teardownHost(settings, signal)).rejects.toThrow(/containerd.sock|UNAVAILABLE/);
  expect(isAlive(left.pid!)).toBe(false);
  expect(existsSync(dir)).toBe(false);
  expect(existsSync(`/sys/class/net/${network.bridge}`)).toBe(false);
  expect(await runProgram("nft", ["list", "tables"])).not.toContain(settings.instance);
});
