import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { instancePaths, orgNamespace } from "../../../config/paths.ts";
import type { Containerd } from "../../../containerd/client.ts";
import { cgroupDirs, cgroupPids, machineCgroup } from "../../../machines/cgroup.ts";
import { createMachines } from "../../../machines/machines.ts";
import { readReservations } from "../../../machines/network/reservations.ts";
import { type MachineLab, openMachineLab } from "./support/lab.ts";

const signal = AbortSignal.timeout(240_000);
const kill = { signal: "SIGKILL", timeoutMs: 0 };
const startOne = fileURLToPath(new URL("./support/start-one.ts", import.meta.url));

describe("what a start that was killed left", () => {
  let lab: MachineLab;
  let org: string;
  let image: { name: string; digest: Awaited<ReturnType<MachineLab["importImage"]>> };

  beforeAll(async () => {
    lab = await openMachineLab({
      containerdSocket: inject("containerdSocket"),
      toolsBinDir: inject("toolsBinDir"),
      toolsShareDir: inject("toolsShareDir"),
    });
    [org] = lab.orgs;
    const name = "registry/test/web:1";
    image = { name, digest: await lab.importImage(org, name, { config: { Cmd: ["sleep", "1000"] } }) };
    await lab.machines.ensureNetwork(org, signal);
  });
  afterAll(async () => await lab[Symbol.asyncDispose]());

  /** As a start stops short of its container: folder, lease, snapshot, cgroup, addresses. */
  async function leaveBehind(id: string): Promise<void> {
    const ctr = lab.containerd.namespace(orgNamespace(org));
    const lease = `machine/${id}`;
    await ctr.leases.create({ id: lease, labels: { "containerd.io/gc.expire": new Date(Date.now() + 120_000).toISOString() } }, { signal });
    const leased = lab.containerd.namespace(orgNamespace(org), lease);
    await leased.snapshots.prepare({ snapshotter: "overlayfs", key: `machine/${id}` }, { signal });
    await mkdir(instancePaths.machineDir(lab.settings, org, id), { recursive: true });
    for (const dir of await cgroupDirs(machineCgroup(lab.settings.instance, org, id))) {
      if (/pids|fs.cgroup.slipway/.test(dir)) await mkdir(dir, { recursive: true });
    }
    const network = await lab.machines.ensureNetwork(org, signal);
    const reservations = path.join(instancePaths.cniState(lab.settings), network.bridge);
    await mkdir(reservations, { recursive: true });
    const first = network.gatewayIpv4.replace(/1$/, "77");
    await writeFile(path.join(reservations, first), `${id}\r\neth0`);
  }

  async function tracesOf(id: string): Promise<string[]> {
    const ctr = lab.containerd.namespace(orgNamespace(org));
    const { leases } = await ctr.leases.list({}, { signal });
    const { containers } = await ctr.containers.list({}, { signal });
    const { tasks } = await ctr.tasks.list({}, { signal });
    const snapshot = await ctr.snapshots.stat({ snapshotter: "overlayfs", key: `machine/${id}` }, { signal }).catch(() => undefined);
    const cgroup = machineCgroup(lab.settings.instance, org, id);
    const held = await readReservations(lab.settings, await lab.machines.ensureNetwork(org, signal));
    const found: Record<string, boolean> = {
      lease: leases.some((lease) => lease.id === `machine/${id}`),
      container: containers.some((container) => container.id === id),
      task: tasks.some((task) => task.id === id),
      snapshot: snapshot !== undefined,
      cgroup: (await cgroupDirs(cgroup)).some((dir) => existsSync(dir)),
      processes: (await cgroupPids(cgroup)).length > 0,
      addresses: [...held.values()].some((ids) => ids.has(id)),
      folder: existsSync(instancePaths.machineDir(lab.settings, org, id)),
    };
    return Object.keys(found).filter((name) => found[name]);
  }

  test("goes when the machine is removed that has no container", async () => {
    await leaveBehind("half");
    expect(await tracesOf("half")).toEqual(["lease", "snapshot", "cgroup", "addresses", "folder"]);
    await lab.machines.remove(org, "half", kill, signal);
    expect(await tracesOf("half")).toEqual([]);
  });

  test("is no hindrance to the next start, which leaves no lease", async () => {
    await leaveBehind("again");
    expect((await lab.machines.start(lab.plan({ id: "again", image }), signal)).state).toBe("running");
    expect(await tracesOf("again")).not.toContain("lease");
    await lab.machines.remove(org, "again", kill, signal);
    expect(await tracesOf("again")).toEqual([]);
  });

  test("is found without being asked for, and what has a container stays", async () => {
    const runs = await lab.machines.start(lab.plan({ id: "runs", image }), signal);
    await lab.containerd.namespace(orgNamespace(org)).leases.create({ id: "machine/runs" }, { signal });
    await leaveBehind("lost");
    expect(await lab.machines.removeLeftovers(signal)).toEqual([`${org}/lost`]);
    expect(await tracesOf("lost")).toEqual([]);
    expect(await tracesOf("runs")).toEqual(["container", "task", "snapshot", "cgroup", "processes", "addresses", "folder"]);
    expect(await lab.machines.inspect(org, "runs", signal)).toMatchObject({ pid: runs.pid, address: runs.address });
    await lab.machines.remove(org, "runs", kill, signal);
  });

  test("may take the bundle of the next start with it as containerd cleans up: that start makes another", async () => {
    const message = `chown /state/io.containerd.runtime.v2.task/${orgNamespace(org)}/robbed: no such file or directory`;
    let tries = 0;
    const racing: Containerd = {
      ...lab.containerd,
      namespace: (...under) => {
        const ctr = lab.containerd.namespace(...under);
        const create: typeof ctr.tasks.create = (...call) =>
          (tries += 1) === 1 ? Promise.reject(new Error(message)) : ctr.tasks.create(...call);
        return { ...ctr, tasks: { ...ctr.tasks, create } };
      },
    };
    const machines = createMachines({ containerd: racing, settings: lab.settings });
    expect((await machines.start(lab.plan({ id: "robbed", image }), signal)).state).toBe("running");
    expect(tries).toBe(2);
    await machines.remove(org, "robbed", kill, signal);
    expect(await tracesOf("robbed")).toEqual([]);
  });

  test.each([0, 40, 80, 100, 120, 140, 160, 200, 300])("%i ms into it goes with a removal, or after another start", async (afterMs) => {
    const ids = [`removed-${afterMs}`, `started-${afterMs}`] as const;
    for (const id of ids) {
      const child = spawn(process.execPath, [startOne, JSON.stringify({ settings: lab.settings, plan: lab.plan({ id, image }) })], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const exited = once(child, "exit");
      await once(child.stdout, "data");
      await sleep(afterMs);
      child.kill("SIGKILL");
      await exited;
    }
    const [removed, started] = ids;
    await lab.machines.remove(org, removed, kill, signal);
    await expect.poll(() => tracesOf(removed), { timeout: 20_000 }).toEqual([]);
    expect((await lab.machines.start(lab.plan({ id: started, image }), signal)).state).toBe("running");
    expect(await tracesOf(started)).not.toContain("lease");
    await lab.machines.remove(org, started, kill, signal);
    expect(await tracesOf(started)).toEqual([]);
  });
});
