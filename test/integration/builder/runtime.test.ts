import { copyFile, mkdir, readlink, readdir, symlink } from "node:fs/promises";
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createBuilders } from "../../../builder/builders.ts";
import { orgNamespace } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { createMachines } from "../../../machines/machines.ts";
import { requireRuntimes } from "../../../machines/runtime.ts";
import { builderMachineId, type MachinePlan } from "../../../machines/types.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import { startContainerd } from "../../support/own-containerd.ts";
import { type MachineLab, openMachineLab } from "../machines/support/lab.ts";
import { isAlive, page } from "../machines/support/observe.ts";

const signal = AbortSignal.timeout(280_000);
/** runc's shim under another name, which containerd takes for another runtime */
const mine = "io.containerd.mine.v2";

let stack: AsyncDisposableStack;
let lab: MachineLab;
let org: string;
let plan: MachinePlan;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const binDir = path.join(dir, "bin");
  await mkdir(binDir);
  const tools = inject("toolsBinDir");
  for (const tool of await readdir(tools)) await symlink(path.join(tools, tool), path.join(binDir, tool));
  await copyFile(path.join(tools, "containerd-shim-runc-v2"), path.join(binDir, "containerd-shim-mine-v2"));
  const { socket } = stack.use(await startContainerd({ toolsBinDir: binDir }));
  lab = stack.use(await openMachineLab({ containerdSocket: socket, toolsBinDir: tools, toolsShareDir: inject("toolsShareDir") }));
  [org] = lab.orgs;
  const name = "registry/test/web:1";
  const digest = await lab.importImage(org, name, {
    config: { Cmd: ["sh", "-c", "exec httpd -f -p 80 -h /etc"] },
    files: { "etc/page": "served" },
  });
  plan = lab.plan({ id: "web", image: { name, digest } });
});

afterAll(async () => await stack?.disposeAsync());

const withRuntime = (runtime: string): Settings => ({
  ...lab.settings,
  machines: { runtime },
  builder: { ...lab.settings.builder, runtime, whenIdle: "off" },
});
const machinesWith = (settings: Settings) => createMachines({ containerd: lab.containerd, settings });

async function runtimeOfContainer(id: string): Promise<string | undefined> {
  const { container } = await lab.containerd.namespace(orgNamespace(org)).containers.get({ id }, { signal });
  return container?.runtime?.name;
}

async function shimAbove(pid: number): Promise<string> {
  const shim = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]!;
  return path.basename(await readlink(`/proc/${shim}/exe`));
}

it("a runtime whose shim is not on containerd's PATH is refused, with the setting and the program named", async () => {
  await requireRuntimes(lab.containerd, withRuntime(mine), signal);
  await expect(requireRuntimes(lab.containerd, withRuntime("io.containerd.runsc.v1"), signal)).rejects.toThrow(
    /"io\.containerd\.runsc\.v1" of machines\.runtime: found no program "containerd-shim-runsc-v1"/,
  );
});

describe("machines of another runtime", () => {
  it("are run by its shim, can be frozen, stopped, started and reached, and keep it when they are started again", async () => {
    const machines = machinesWith(withRuntime(mine));
    const started = await machines.start(plan, signal);
    expect(await runtimeOfContainer("web")).toBe(mine);
    expect(await shimAbove(started.pid!)).toBe("containerd-shim-mine-v2");
    expect(await page(`http://${started.address}/page`)).toBe("served");
    await machines.pause(org, "web", signal);
    await machines.resume(org, "web", signal);
    process.kill(started.pid!, "SIGKILL");
    await expect.poll(async () => (await machines.inspect(org, "web", signal))?.state, { timeout: 30_000 }).toBe("stopped");

    // also where the settings have another one by now
    const revived = await lab.machines.revive(org, "web", signal);
    expect(await shimAbove(revived!.pid!)).toBe("containerd-shim-mine-v2");
    expect(revived!.address).toBe(started.address);
    expect(await page(`http://${revived!.address}/page`)).toBe("served");
  });

  it("are given the runtime of the settings with their next start", async () => {
    await lab.machines.stop(org, "web", { signal: "SIGKILL", timeoutMs: 0 }, signal);
    const { pid, address } = await lab.machines.start(plan, signal);
    expect(await shimAbove(pid!)).toBe("containerd-shim-runc-v2");
    expect(await page(`http://${address}/page`)).toBe("served");
    await lab.machines.remove(org, "web", { signal: "SIGKILL", timeoutMs: 0 }, signal);
    expect(isAlive(pid!)).toBe(false);
  });
});

it("a builder takes another runtime at its next start, sleeps and wakes in it, and goes back", async () => {
  const settings = withRuntime(mine);
  const pidOf = async () => (await lab.machines.inspect(org, builderMachineId, signal))!.pid!;
  await using before = createBuilders({
    containerd: lab.containerd,
    machines: lab.machines,
    settings: { ...lab.settings, builder: { ...lab.settings.builder, whenIdle: "off" } },
  });
  await before.wake(org, { signal });
  expect(await shimAbove(await pidOf())).toBe("containerd-shim-runc-v2");
  await before.sleep(org, signal);

  await using builders = createBuilders({ containerd: lab.containerd, machines: machinesWith(settings), settings });
  await builders.wake(org, { signal });
  expect(await shimAbove(await pidOf())).toBe("containerd-shim-mine-v2");
  expect(await builders.suspend(org, signal)).toBe(true);
  expect((await builders.wake(org, { signal })).wokenFrom).toBe("suspended");
  expect(await builders.sleep(org, signal)).toBe(true);
  expect((await builders.wake(org, { signal })).wokenFrom).toBe("stopped");
  expect(await shimAbove(await pidOf())).toBe("containerd-shim-mine-v2");
  await builders.sleep(org, signal);

  await before.wake(org, { signal });
  expect(await shimAbove(await pidOf())).toBe("containerd-shim-runc-v2");
  await lab.machines.remove(org, builderMachineId, { signal: "SIGKILL", timeoutMs: 0 }, signal);
});
