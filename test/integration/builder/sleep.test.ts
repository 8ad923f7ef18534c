import { execFile } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cacheUsage } from "../../../builder/cache-usage.ts";
import { openBuildkit } from "../../../builder/buildkit/client.ts";
import type { Builders } from "../../../builder/builders.ts";
import { ensureBuilderImage } from "../../../builder/image.ts";
import { ensureCacheVolume } from "../../../builder/cache-volume.ts";
import { builderPlan } from "../../../builder/machine-plan.ts";
import { builderMachineId } from "../../../machines/types.ts";
import { instancePaths, orgNamespace } from "../../../config/paths.ts";
import { createMachines } from "../../../machines/machines.ts";
import { snapshotKeyOf } from "../../../machines/prepare-snapshot.ts";
import { type BuilderLab, openBuilderLab } from "./builder-lab.ts";
import { enterMachine } from "./enter-machine.ts";

const run = promisify(execFile);

const signal = AbortSignal.timeout(280_000);

let builder: BuilderLab;
let builders: Builders;
let org: string;

beforeAll(async () => {
  builder = await openBuilderLab();
  builders = builder.open({ whenIdle: "off" });
  ({ org } = builder);
  const awake = await builders.wake(org, { signal });
  await builder.build(awake.address, "RUN echo cached\n");
});

afterAll(async () => await builder?.[Symbol.asyncDispose]());

const stateOf = async () => (await builder.machine())?.state;
const pidOf = async () => (await builder.machine())?.pid;
const until = (state: string) => expect.poll(stateOf, { timeout: 30_000, interval: 20 }).toBe(state);

/** The steps before it came from the cache of a volume that survived. */
async function buildsWithCache(address: string): Promise<void> {
  const { steps, cachedSteps } = await builder.build(address, `RUN echo cached\nRUN echo ${crypto.randomUUID()}\n`);
  expect(cachedSteps).toBe(steps - 1);
}

describe("a builder that nobody uses", () => {
  it("is frozen first, and its memory freed later", async () => {
    const brief = builder.open({ idleTimeoutMs: 100 });
    await brief.wake(org, { signal });
    await until("paused");
    // as a worker does that comes after one that was killed
    await builder.open({ suspendedForMs: 100 }).adopt(signal);
    await until("stopped");
  });

  it("is stopped at once where the settings say so", async () => {
    const brief = builder.open({ idleTimeoutMs: 100, whenIdle: "stop" });
    await brief.wake(org, { signal });
    await until("stopped");
  });

  it("stays awake where sleeping is off", async () => {
    const never = builder.open({ idleTimeoutMs: 50, whenIdle: "off" });
    await never.wake(org, { signal });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await stateOf()).toBe("running");
  });
});

describe("a frozen builder", () => {
  it("goes on as the same process, and pushes although the mirror closed its connections meanwhile", async () => {
    await buildsWithCache((await builders.wake(org, { signal })).address);
    const pid = await pidOf();
    expect(await builders.suspend(org, signal)).toBe(true);
    expect(await builders.status(org, signal)).toEqual({ state: "asleep", uses: 0 });
    builder.mirror.closeIdleConnections();
    const woken = await builders.wake(org, { signal });
    expect(woken.wokenFrom).toBe("suspended");
    expect(await pidOf()).toBe(pid);
    await buildsWithCache(woken.address);
  });

  it("is replaced when it was killed, and its cache kept", async () => {
    const pid = await pidOf();
    await builders.suspend(org, signal);
    process.kill(pid!, "SIGKILL");
    await buildsWithCache((await builders.wake(org, { signal })).address);
    expect(await pidOf()).not.toBe(pid);
  });

  it("can be stopped", async () => {
    await builders.suspend(org, signal);
    expect(await builders.sleep(org, signal)).toBe(true);
    expect(await stateOf()).toBe("stopped");
  });
});

describe("a stopped builder", () => {
  const network = () => instancePaths.machineNetwork(builder.settings, org, builderMachineId);

  it("has no process, wakes in the network that it had, and finds nothing of what it wrote beside its cache", async () => {
    await builders.wake(org, { signal });
    const { pid, address } = (await builder.machine())!;
    await enterMachine(pid!, "echo mine > /root/mine && echo mine > /var/lib/buildkit/mine");
    const { ino } = statSync(`/proc/${pid}/ns/net`);
    expect(await builders.sleep(org, signal)).toBe(true);
    expect(await builder.programs()).toEqual([]);
    expect(statSync(network()).ino).toBe(ino);

    expect((await builders.wake(org, { signal })).wokenFrom).toBe("stopped");
    const woken = (await builder.machine())!;
    expect(woken.address).toBe(address);
    expect(statSync(`/proc/${woken.pid}/ns/net`).ino).toBe(ino);
    const { stdout } = await enterMachine(woken.pid!, "ls /root; ls /var/lib/buildkit/mine");
    expect(stdout).toBe("/var/lib/buildkit/mine\n");
  });

  it.each([
    ["its link was taken away", () => run("nsenter", [`--net=${network()}`, "ip", "link", "delete", "eth0"])],
    ["its network was", () => run("umount", [network()])],
    [
      "its root filesystem was",
      async () => {
        const ctr = builder.lab.containerd.namespace(orgNamespace(org));
        const { snapshotter } = builder.settings.containerd;
        await ctr.snapshots.remove({ snapshotter, key: snapshotKeyOf(builderMachineId) }, { signal });
      },
    ],
  ])("wakes and builds with its cache when %s", async (_what, takeAway) => {
    await builders.sleep(org, signal);
    await takeAway();
    await buildsWithCache((await builders.wake(org, { signal })).address);
  });

  it("takes its network with it when it is removed", async () => {
    await builders.sleep(org, signal);
    expect(existsSync(network())).toBe(true);
    await builders.discard(org, { dropCache: false, force: true }, signal);
    expect(existsSync(network())).toBe(false);
  });
});

describe("who wants to build gets an awake builder", () => {
  it.each(["suspend", "sleep"] as const)("when a %s comes at the same time, before or after", async (rest) => {
    await builders.wake(org, { signal });
    const [before, held] = await Promise.all([builders[rest](org, signal), builders.acquire(org, { signal })]);
    // its use counts from when it was asked for
    expect(before).toBe(false);
    const [again, second] = await Promise.all([builders.acquire(org, { signal }), builders[rest](org, signal)]);
    expect(second).toBe(false);
    await buildsWithCache(again.address);
    await held[Symbol.asyncDispose]();
    await again[Symbol.asyncDispose]();

    const [rested, woken] = await Promise.all([
      builders[rest](org, signal),
      new Promise((resolve) => setImmediate(resolve)).then(() => builders.acquire(org, { signal })),
    ]);
    expect(typeof rested).toBe("boolean");
    await buildsWithCache(woken.address);
    await woken[Symbol.asyncDispose]();
  });

  it("when it is killed while it wakes", async () => {
    await builders.sleep(org, signal);
    let killed: number | undefined;
    const killing = async () => {
      await expect.poll(async () => (killed = await pidOf()), { timeout: 30_000, interval: 1 }).toBeDefined();
      process.kill(killed!, "SIGKILL");
    };
    const starting = Promise.withResolvers<void>();
    let seen = 0;
    const onPhase = (phase: string) => {
      if (phase === "starting" && ++seen === 1) starting.resolve(killing());
    };
    const woken = await builders.wake(org, { signal, onPhase });
    await starting.promise;
    expect(await pidOf()).not.toBe(killed);
    await buildsWithCache(woken.address);
  });

  it("when two workers of the host wake it at once, and then it is one", async () => {
    await builders.sleep(org, signal);
    const { containerd } = builder.lab;
    const other = builder.open({}, { machines: createMachines({ containerd, settings: builder.settings }) });
    const [first, second] = await Promise.all([builders.acquire(org, { signal }), other.acquire(org, { signal })]);
    expect([first.wokenFrom, second.wokenFrom].toSorted()).toEqual(["running", "stopped"]);
    expect((await builder.programs()).filter((program) => program === "buildkitd")).toHaveLength(1);
    await buildsWithCache(second.address);
  });
});

describe("the cache volume", () => {
  it("takes one buildkitd: the kernel's lock on it turns a second machine away", async () => {
    const { settings, lab } = builder;
    const woken = await builders.wake(org, { signal });
    const plan = builderPlan(
      settings,
      org,
      await ensureBuilderImage(lab.containerd, settings, org, signal),
      await ensureCacheVolume(settings, org, signal),
    );
    const sockets = await mkdtemp(path.join(tmpdir(), "slipway-second-"));
    const mounts = plan.mounts.map((mount) => (mount.destination === "/run/buildkit" ? { ...mount, source: sockets } : mount));
    try {
      await lab.machines.start({ ...plan, id: "second", mounts }, signal);
      await expect.poll(async () => (await lab.machines.inspect(org, "second", signal))?.state, { timeout: 30_000 }).toBe("stopped");
      // what it said may come a moment later than its end
      const log = () => readFile(instancePaths.machineLog(settings, org, "second"), "utf8");
      await expect.poll(log, { timeout: 30_000 }).toMatch(/could not lock .*buildkitd\.lock/);
      await buildsWithCache(woken.address);
    } finally {
      await lab.machines.remove(org, "second", { signal: "SIGKILL", timeoutMs: 0 }, signal);
      await rm(sockets, { recursive: true, force: true });
    }
  });

  it("has the bound that the settings say, and a change of it keeps the cache", async () => {
    const woken = await builder.open({ cacheBytes: 300_000_000, whenIdle: "off" }).wake(org, { signal });
    using buildkit = openBuildkit(woken.address);
    const { record } = await buildkit.control.listWorkers({}, { signal });
    expect(Number(record[0]?.GCPolicy.at(-1)?.maxUsedSpace)).toBe(300_000_000);
    expect((await cacheUsage(buildkit, signal)).records).toBeGreaterThan(2);
  });
});
