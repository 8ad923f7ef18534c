import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { cgroupPids, machineCgroup } from "../../../machines/cgroup.ts";
import { createMachines } from "../../../machines/machines.ts";
import type { MachineState } from "../../../machines/types.ts";
import { isAlive, page, until } from "./support/observe.ts";
import { kill, openWebLab, serve, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

test("garbage collection takes nothing of a machine's image, even when the image's name is gone", async () => {
  const digest = await lab.importImage(lab.org, "registry/test/untagged:1", { config: { Cmd: serve }, files: { "etc/only": "here" } });
  const plan = lab.plan({ id: "kept", image: { name: "registry/test/untagged:1", digest } });
  await lab.machines.start(plan, signal);
  const ctr = lab.containerd.namespace(orgNamespace(lab.org));
  await ctr.images.delete({ name: "registry/test/untagged:1", sync: true }, { signal });
  await collect();
  await lab.machines.stop(lab.org, "kept", kill, signal);
  await collect();
  expect((await lab.machines.start(plan, signal)).state).toBe("running");
  await lab.remove("kept");
  await collect();
  await expect(ctr.content.info({ digest }, { signal })).rejects.toThrow(/not found/);
});

test("a start holds the image from its first look on, while garbage is collected without a pause and nothing else holds it", async () => {
  const digest = await lab.importImage(lab.org, "registry/test/held:1", { config: { Cmd: serve }, files: { "etc/only": "held" } });
  const plan = lab.plan({ id: "held", image: { name: "registry/test/held:1", digest } });
  await lab.machines.start(plan, signal);
  await lab.containerd.namespace(orgNamespace(lab.org)).images.delete({ name: "registry/test/held:1" }, { signal });
  let isOver = false;
  const collecting = (async () => {
    while (!isOver) await collect();
  })();
  for (let again = 0; again < 2; again += 1) {
    await lab.machines.stop(lab.org, "held", kill, signal);
    // the container of before, which held the image, is taken away in the middle of this
    expect((await lab.machines.start(plan, signal)).state).toBe("running");
  }
  isOver = true;
  await collecting;
  await lab.remove("held");
  await collect();
  await expect(lab.machines.start(plan, signal)).rejects.toMatchObject({
    code: "IMAGE_MISSING",
    message: expect.stringContaining(digest) as string,
  });
  const { leases } = await lab.containerd.namespace(orgNamespace(lab.org)).leases.list({}, { signal });
  expect(leases).toEqual([]);
});

test("a start that fails leaves neither container, snapshot, process nor lease", async () => {
  await expect(lab.start("broken", ["/no/such/program"])).rejects.toMatchObject({
    code: "PROCESS_INVALID",
    retryable: false,
    message: expect.stringContaining('"/no/such/program"') as string,
  });
  expect(await lab.machines.inspect(lab.org, "broken", signal)).toBeUndefined();
  const ctr = lab.containerd.namespace(orgNamespace(lab.org));
  await expect(ctr.snapshots.stat({ snapshotter: "overlayfs", key: "machine/broken" }, { signal })).rejects.toThrow(/not exist|not found/);
  expect((await ctr.leases.list({}, { signal })).leases).toEqual([]);
  expect(await cgroupPids(machineCgroup(lab.settings.instance, lab.org, "broken"))).toEqual([]);
});

test("a file where the image says its working directory is, is final too", async () => {
  const digest = await lab.importImage(lab.org, "registry/test/cwd:1", { config: { Cmd: serve, WorkingDir: "/bin/busybox/x" } });
  const plan = lab.plan({ id: "nowhere", image: { name: "registry/test/cwd:1", digest } });
  await expect(lab.machines.start(plan, signal)).rejects.toMatchObject({ code: "PROCESS_INVALID" });
});

test("a machine that does not come up again keeps its container, and gets its address once it does", async () => {
  const first = await lab.start("limps");
  const macOf = ({ pid }: MachineState) => readFileSync(`/proc/${pid}/root/sys/class/net/eth0/address`, "utf8");
  const mac = macOf(first);
  const ctr = lab.containerd.namespace(orgNamespace(lab.org));
  process.kill(first.pid!, "SIGKILL");
  await until(async () => (await lab.machines.inspect(lab.org, "limps", signal))?.state === "stopped");
  const seccomp = { seccompProfile: { defaultAction: "SCMP_ACT_NONSENSE" } };
  const broken = createMachines({ containerd: lab.containerd, settings: lab.settings, ...seccomp });
  await expect(broken.revive(lab.org, "limps", signal)).rejects.toMatchObject({ code: "START_FAILED", retryable: true });
  expect(await lab.machines.inspect(lab.org, "limps", signal)).toMatchObject({ state: "stopped", address: first.address });
  const revived = await lab.machines.revive(lab.org, "limps", signal);
  expect(revived).toMatchObject({ state: "running", address: first.address });
  // neighbours would go on sending to another link address for half a minute
  expect(macOf(revived!)).toBe(mac);
  expect((await ctr.leases.list({}, { signal })).leases).toEqual([]);
  await lab.remove("limps");
});

test("after its shim was killed, at most one process tree of the machine runs", async () => {
  const machine = await lab.start("orphan");
  const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${machine.pid}/status`, "utf8"))![1]);
  expect(readFileSync(`/proc/${shim}/comm`, "utf8")).toContain("containerd-shim");
  process.kill(shim, "SIGKILL");
  const again = await until(async () => {
    const state = await lab.start("orphan");
    return state.pid === machine.pid ? undefined : state;
  });
  expect(isAlive(machine.pid!)).toBe(false);
  const pids = await cgroupPids(machineCgroup(lab.settings.instance, lab.org, "orphan"));
  expect(pids).toEqual([again.pid]);
  expect(await page(`http://${again.address}/hosts`)).toContain("orphan");
  await lab.remove("orphan");
});

test("the mark of a live release stays with a machine that is started again", async () => {
  const first = await lab.start("marked");
  expect(first.labels["slipway.live"]).toBeUndefined();
  await lab.machines.keepRunning(lab.org, "marked", signal);
  process.kill(first.pid!, "SIGKILL");
  await until(async () => (await lab.machines.inspect(lab.org, "marked", signal))?.state === "stopped");
  const again = await lab.machines.revive(lab.org, "marked", signal);
  expect(again).toMatchObject({ state: "running", labels: { "slipway.live": "true", "slipway.role": "app" } });
  await lab.machines.keepRunning(lab.org, "never-was", signal);
  await lab.remove("marked");
});

async function collect(): Promise<void> {
  const ctr = lab.containerd.namespace(orgNamespace(lab.org));
  await ctr.leases.create({ id: "collect" }, { signal });
  await ctr.leases.delete({ id: "collect", sync: true }, { signal });
}
