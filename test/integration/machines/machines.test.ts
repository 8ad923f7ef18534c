import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { instancePaths, orgNamespace } from "../../../config/paths.ts";
import { cgroupDirs, cgroupPids, machineCgroup } from "../../../machines/cgroup.ts";
import { rotateLog } from "../../../machines/logs/rotate.ts";
import { machineLogTail } from "../../../machines/logs/tail.ts";
import { createMachines } from "../../../machines/machines.ts";
import { machineMac } from "../../../machines/network/address-plan.ts";
import { createOrgNetworks } from "../../../machines/network/org-networks.ts";
import { runProgram } from "../../../machines/run-program.ts";
import { teardownHost } from "../../../machines/teardown.ts";
import type { MachineState } from "../../../machines/types.ts";
import type { Digest } from "../../../oci/digest.ts";
import { type MachineLab, openMachineLab } from "./support/lab.ts";

const signal = AbortSignal.timeout(240_000);
const kill = { signal: "SIGKILL", timeoutMs: 2000 };

describe("machines on containerd", () => {
  let lab: MachineLab;
  let org: string;
  let rival: string;
  let web: Digest;
  let rivalWeb: Digest;
  const name = "registry/test/web:1";
  const serve = ["sh", "-c", "exec httpd -f -p 80 -h /etc"];

  beforeAll(async () => {
    lab = await openMachineLab({
      containerdSocket: inject("containerdSocket"),
      toolsBinDir: inject("toolsBinDir"),
      toolsShareDir: inject("toolsShareDir"),
    });
    [org, rival] = lab.orgs;
    const image = {
      config: { Cmd: serve, User: "app", Labels: { "containerd.io/restart.loguri": "binary:///bin/sh", "slipway.app": "stolen" } },
      files: { "etc/passwd": "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n", "etc/group": "app:x:1000:\n" },
    };
    web = await lab.importImage(org, name, image);
    rivalWeb = await lab.importImage(rival, name, image);
  });
  afterAll(async () => await lab[Symbol.asyncDispose]());

  const start = (id: string, args: readonly string[] = serve) =>
    lab.machines.start(lab.plan({ id, image: { name, digest: web }, args }), signal);
  const remove = (id: string) => lab.machines.remove(org, id, kill, signal);
  /** Runs a shell line in a machine of its own and answers what it wrote. */
  async function output(id: string, script: string, ofOrg = org): Promise<string> {
    const digest = ofOrg === org ? web : rivalWeb;
    await lab.machines.start(lab.plan({ org: ofOrg, id, image: { name, digest }, args: ["sh", "-c", script] }), signal);
    await until(async () => (await lab.machines.inspect(ofOrg, id, signal))?.state === "stopped");
    const lines = await until(async () => {
      const found = await machineLogTail(lab.settings, ofOrg, id, 100);
      return found.length > 0 ? found : undefined;
    });
    await lab.machines.remove(ofOrg, id, kill, signal);
    return lines.join("\n");
  }

  test("a machine answers under its IPv4 and IPv6 address and is answered as it is when started again", async () => {
    const machine = await start("web-app-0-v1");
    expect(machine).toMatchObject({ org, id: "web-app-0-v1", digest: web, state: "running" });
    const ipv6 = (
      JSON.parse(await readFile(`${instancePaths.machineDir(lab.settings, org, machine.id)}/addresses.json`, "utf8")) as { ipv6: string }
    ).ipv6;
    for (const host of [machine.address!, `[${ipv6}]`]) expect(await page(`http://${host}/hosts`)).toContain("_api.internal");
    expect((await start("web-app-0-v1")).pid).toBe(machine.pid);
    expect(await lab.machines.list({ org }, signal)).toHaveLength(1);
    await remove(machine.id);
    expect(await lab.machines.inspect(org, machine.id, signal)).toBeUndefined();
    expect(isAlive(machine.pid!)).toBe(false);
  });

  test("a sandboxed machine runs as nobody of the host, with seccomp, without privileges, within its limits", async () => {
    const machine = await start("sandbox");
    const status = readFileSync(`/proc/${machine.pid}/status`, "utf8");
    expect(status).toMatch(/^Seccomp:\s+2$/m);
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(status).toMatch(/^CapBnd:\s+00000000000004eb$/m);
    expect(status).toMatch(/^CapAmb:\s+0+$/m);
    const [inside, outside, size] = readFileSync(`/proc/${machine.pid}/uid_map`, "utf8").trim().split(/\s+/).map(Number);
    expect([inside, size]).toEqual([0, 65_536]);
    expect(outside).toBeGreaterThanOrEqual(2 ** 24);
    expect(status).toMatch(new RegExp(`^Uid:\\s+${outside! + 1000}\\s`, "m"));
    for (const namespace of ["pid", "net", "mnt", "uts", "ipc", "user", "cgroup"]) {
      const [own, host] = await Promise.all([link(`/proc/${machine.pid}/ns/${namespace}`), link(`/proc/self/ns/${namespace}`)]);
      expect(own).not.toBe(host);
    }
    expect(await limit(machine, "memory", "memory.limit_in_bytes", "memory.max")).toBe(String(64 * 1024 * 1024));
    expect(await limit(machine, "pids", "pids.max", "pids.max")).toBe("64");
    await remove(machine.id);
  });

  test("a sandboxed machine can neither mount nor write to the kernel's settings, and may bind low ports", async () => {
    const seen = await output(
      "curious",
      "mount -t tmpfs none /tmp; echo 1 > /proc/sys/kernel/panic; id -u; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    expect(seen).toMatch(/mount: .*(denied|permitted)/);
    expect(seen).toMatch(/panic: (Permission denied|Read-only file system)/);
    expect(seen).toMatch(/^1000\n0$/m);
  });

  test("no label of the image reaches the container, and the plan may set labels of ours only", async () => {
    await start("labels");
    const { container } = await lab.containerd.namespace(orgNamespace(org)).containers.get({ id: "labels" }, { signal });
    expect(Object.keys(container!.labels).toSorted()).toEqual(["containerd.io/gc.ref.content.image", "slipway.digest", "slipway.role"]);
    await remove("labels");
    const foreign = lab.plan({ id: "foreign", image: { name, digest: web }, labels: { "containerd.io/restart.status": "running" } });
    await expect(lab.machines.start(foreign, signal)).rejects.toThrow(/slipway\./);
  });

  test("an org reaches neither another org, nor the host beside the mirror's port", async () => {
    const victim = await lab.machines.start(lab.plan({ org: rival, id: "victim", image: { name, digest: rivalWeb }, args: serve }), signal);
    const own = await start("own");
    const gateway = (await lab.machines.ensureNetwork(org, signal)).gatewayIpv4;
    const rivalGateway = (await lab.machines.ensureNetwork(rival, signal)).gatewayIpv4;
    await using mirror = await listener(gateway, lab.settings.mirror.port);
    await using other = await listener(gateway, 0);
    await using foreign = await listener(rivalGateway, lab.settings.mirror.port);
    const reach = (address: string, port: number) =>
      `nc -w 1 ${address} ${port} </dev/null >/dev/null 2>&1 && echo ${address}:${port} reached || echo ${address}:${port} refused`;
    const targets: [string, number][] = [
      [own.address!, 80],
      [gateway, mirror.port],
      [gateway, other.port],
      [rivalGateway, foreign.port],
      [victim.address!, 80],
    ];
    const seen = await output("prober", targets.map(([address, port]) => reach(address, port)).join("; "));
    expect(seen.split("\n")).toEqual([
      `${own.address}:80 reached`,
      `${gateway}:${mirror.port} reached`,
      `${gateway}:${other.port} refused`,
      `${rivalGateway}:${foreign.port} refused`,
      `${victim.address}:80 refused`,
    ]);
    await lab.machines.remove(rival, "victim", kill, signal);
    await remove("own");
  });

  test("a machine reaches the outside under the host's address, and the outside does not reach it", async () => {
    await using outside = await openOutside(lab.settings.instance);
    const own = await start("reachable");
    const seen = await output("caller", `wget -q -O - http://${outside.address}:9000/hostname && echo fetched`);
    expect(seen).toContain("fetched");
    // that the answer came back without this route means that the machine's own address was hidden
    await runProgram("ip", ["-n", outside.name, "route", "add", "default", "via", "198.51.100.1"]);
    const back = runProgram("ip", ["netns", "exec", outside.name, "busybox", "nc", "-w", "1", own.address!, "80"]);
    await expect(back).rejects.toThrow(/ended with/);
    await remove("reachable");
  });

  test("output goes to the machine's log, which can be cut while it is written", async () => {
    await start("talker", ["sh", "-c", "n=0; while true; do n=$((n+1)); echo line $n; echo err $n >&2; sleep 0.02; done"]);
    await until(async () => (await machineLogTail(lab.settings, org, "talker", 50)).includes("err 5"));
    const file = instancePaths.machineLog(lab.settings, org, "talker");
    expect(await rotateLog(file, { maxBytes: 10, keep: 3 })).toBe(true);
    await until(async () => readFileSync(file, "utf8").includes("line"));
    expect(readFileSync(file).includes(0)).toBe(false);
    await remove("talker");
    expect(existsSync(file)).toBe(true);
  });

  test("a stop sends the signal, waits, and keeps the container; start brings the machine back", async () => {
    const script = "trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 0.05; done";
    const first = await start("stopper", ["sh", "-c", script]);
    await until(async () => (await machineLogTail(lab.settings, org, "stopper", 5)).includes("ready"));
    await lab.machines.stop(org, "stopper", { signal: "SIGTERM", timeoutMs: 10_000 }, signal);
    expect(await machineLogTail(lab.settings, org, "stopper", 1)).toEqual(["bye"]);
    expect((await lab.machines.inspect(org, "stopper", signal))?.state).toBe("stopped");
    const again = await start("stopper", ["sh", "-c", script]);
    expect(again.state).toBe("running");
    expect(again.pid).not.toBe(first.pid);
    await remove("stopper");
  });

  test("a machine that ignores its signal is killed", async () => {
    const machine = await start("stubborn", ["sh", "-c", "trap '' TERM; while true; do sleep 0.05; done"]);
    await lab.machines.stop(org, "stubborn", { signal: "SIGTERM", timeoutMs: 300 }, signal);
    expect(isAlive(machine.pid!)).toBe(false);
    await remove("stubborn");
  });

  test("a machine that ended tells its exit code", async () => {
    await start("exiter", ["sh", "-c", "exit 42"]);
    await until(async () => (await lab.machines.inspect(org, "exiter", signal))?.state === "stopped");
    expect((await lab.machines.inspect(org, "exiter", signal))?.exit?.code).toBe(42);
    await remove("exiter");
  });

  test("a paused machine goes on where it was when resumed", async () => {
    const machine = await start("sleeper");
    await lab.machines.pause(org, "sleeper", signal);
    await lab.machines.pause(org, "sleeper", signal);
    expect((await lab.machines.inspect(org, "sleeper", signal))?.state).toBe("paused");
    await lab.machines.resume(org, "sleeper", signal);
    expect(await page(`http://${machine.address}/hosts`)).toContain("sleeper");
    await lab.machines.pause(org, "sleeper", signal);
    await remove("sleeper");
    expect(isAlive(machine.pid!)).toBe(false);
  });

  test("after its shim was killed, at most one process tree of the machine runs", async () => {
    const machine = await start("orphan");
    const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${machine.pid}/status`, "utf8"))![1]);
    expect(readFileSync(`/proc/${shim}/comm`, "utf8")).toContain("containerd-shim");
    process.kill(shim, "SIGKILL");
    const again = await until(async () => {
      const state = await start("orphan");
      return state.pid === machine.pid ? undefined : state;
    });
    expect(isAlive(machine.pid!)).toBe(false);
    const pids = await cgroupPids(machineCgroup(lab.settings.instance, org, "orphan"));
    expect(pids).toEqual([again.pid]);
    expect(await page(`http://${again.address}/hosts`)).toContain("orphan");
    await remove("orphan");
  });

  test("garbage collection takes nothing of a machine's image, even when the image's name is gone", async () => {
    const digest = await lab.importImage(org, "registry/test/untagged:1", { config: { Cmd: serve }, files: { "etc/only": "here" } });
    const plan = lab.plan({ id: "kept", image: { name: "registry/test/untagged:1", digest } });
    await lab.machines.start(plan, signal);
    const ctr = lab.containerd.namespace(orgNamespace(org));
    await ctr.images.delete({ name: "registry/test/untagged:1", sync: true }, { signal });
    await collect();
    await lab.machines.stop(org, "kept", kill, signal);
    await collect();
    expect((await lab.machines.start(plan, signal)).state).toBe("running");
    await remove("kept");
    await collect();
    await expect(ctr.content.info({ digest }, { signal })).rejects.toThrow(/not found/);
  });

  test("a start that fails leaves neither container, snapshot, process nor lease", async () => {
    await expect(start("broken", ["/no/such/program"])).rejects.toMatchObject({
      code: "PROCESS_INVALID",
      retryable: false,
      message: expect.stringContaining('"/no/such/program"') as string,
    });
    expect(await lab.machines.inspect(org, "broken", signal)).toBeUndefined();
    const ctr = lab.containerd.namespace(orgNamespace(org));
    await expect(ctr.snapshots.stat({ snapshotter: "overlayfs", key: "machine/broken" }, { signal })).rejects.toThrow(
      /not exist|not found/,
    );
    expect((await ctr.leases.list({}, { signal })).leases).toEqual([]);
    expect(await cgroupPids(machineCgroup(lab.settings.instance, org, "broken"))).toEqual([]);
  });

  test("a file where the image says its working directory is, is final too", async () => {
    const digest = await lab.importImage(org, "registry/test/cwd:1", { config: { Cmd: serve, WorkingDir: "/bin/busybox/x" } });
    const plan = lab.plan({ id: "nowhere", image: { name: "registry/test/cwd:1", digest } });
    await expect(lab.machines.start(plan, signal)).rejects.toMatchObject({ code: "PROCESS_INVALID" });
  });

  test("a machine that does not come up again keeps its container, and gets its address once it does", async () => {
    const first = await start("limps");
    const macOf = ({ pid }: MachineState) => readFileSync(`/proc/${pid}/root/sys/class/net/eth0/address`, "utf8");
    const mac = macOf(first);
    const ctr = lab.containerd.namespace(orgNamespace(org));
    process.kill(first.pid!, "SIGKILL");
    await until(async () => (await lab.machines.inspect(org, "limps", signal))?.state === "stopped");
    const seccomp = { seccompProfile: { defaultAction: "SCMP_ACT_NONSENSE" } };
    const broken = createMachines({ containerd: lab.containerd, settings: lab.settings, ...seccomp });
    await expect(broken.revive(org, "limps", signal)).rejects.toMatchObject({ code: "START_FAILED", retryable: true });
    expect(await lab.machines.inspect(org, "limps", signal)).toMatchObject({ state: "stopped", address: first.address });
    const revived = await lab.machines.revive(org, "limps", signal);
    expect(revived).toMatchObject({ state: "running", address: first.address });
    // neighbours would go on sending to another link address for half a minute
    expect(macOf(revived!)).toBe(mac);
    expect((await ctr.leases.list({}, { signal })).leases).toEqual([]);
    await remove("limps");
  });

  test("an address is given to no other machine while the one that had it is stopped, and is free once that is removed", async () => {
    const stopped = await start("holder");
    await lab.machines.stop(org, "holder", kill, signal);
    const others = [await start("other-0"), await start("other-1")];
    expect(others.map(({ address }) => address)).not.toContain(stopped.address);
    for (const id of ["holder", "other-0", "other-1"]) await remove(id);
    const { bridge } = await lab.machines.ensureNetwork(org, signal);
    const held = await readdir(path.join(instancePaths.cniState(lab.settings), bridge));
    expect(held.filter((file) => /^10\.|^fd/.test(file))).toEqual([]);
  });

  test("an address is not given out again until all others were, whoever woke in between, and then with the same link address", async () => {
    const macOf = ({ pid }: MachineState) => readFileSync(`/proc/${pid}/root/sys/class/net/eth0/address`, "utf8").trim();
    const sleeper = await start("wakes");
    const first = await start("first");
    await page(`http://${first.address}/hosts`);
    const mac = macOf(first);
    await remove("first");
    await lab.machines.stop(org, "wakes", kill, signal);
    expect((await start("wakes")).address).toBe(sleeper.address);
    const second = await start("second");
    expect(second.address).not.toBe(first.address);

    const { bridge } = await lab.machines.ensureNetwork(org, signal);
    const hostPart = Number(first.address!.split(".")[3]);
    await writeFile(path.join(instancePaths.cniState(lab.settings), `${bridge}.last`), `${hostPart - 1}`);
    const third = await start("third");
    expect(third.address).toBe(first.address);
    expect(macOf(third)).toBe(mac);
    expect(macOf(third)).toBe(machineMac({ ipv4: third.address!, ipv6: "" }));
    for (const id of ["wakes", "second", "third"]) await remove(id);
  });

  test("machines that start at once have addresses of their own", async () => {
    const ids = Array.from({ length: 4 }, (_, index) => `at-once-${index}`);
    const started = await Promise.all(ids.map((id) => start(id)));
    expect(new Set(started.map(({ address }) => address)).size).toBe(4);
    await Promise.all(ids.map(remove));
  });

  test("a privileged machine can mount, for the builder", async () => {
    const plan = lab.plan({
      id: "builder",
      image: { name, digest: web },
      isolation: "privileged",
      args: ["sh", "-c", "mount -t tmpfs none /tmp && echo mounted"],
    });
    const root = await lab.importImage(org, "registry/test/root:1", {});
    await lab.machines.start({ ...plan, image: { name: "registry/test/root:1", digest: root } }, signal);
    await until(async () => (await machineLogTail(lab.settings, org, "builder", 5)).includes("mounted"));
    await remove("builder");
  });

  test("the mark of a live release stays with a machine that is started again", async () => {
    const first = await start("marked");
    expect(first.labels["slipway.live"]).toBeUndefined();
    await lab.machines.keepRunning(org, "marked", signal);
    process.kill(first.pid!, "SIGKILL");
    await until(async () => (await lab.machines.inspect(org, "marked", signal))?.state === "stopped");
    const again = await lab.machines.revive(org, "marked", signal);
    expect(again).toMatchObject({ state: "running", labels: { "slipway.live": "true", "slipway.role": "app" } });
    await lab.machines.keepRunning(org, "never-was", signal);
    await remove("marked");
  });

  test("a torn-down host holds nothing of ours, and what was not stopped on purpose can be brought back where it was", async () => {
    const ran = await start("comes-back");
    await start("stays-away");
    await lab.machines.stop(org, "stays-away", kill, signal);
    const { bridge } = await lab.machines.ensureNetwork(org, signal);
    await teardownHost(lab.settings, signal);
    expect(isAlive(ran.pid!)).toBe(false);
    expect(existsSync(`/sys/class/net/${bridge}`)).toBe(false);
    expect(await runProgram("nft", ["list", "tables"])).not.toContain(lab.settings.instance);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(lab.settings.dataDir);
    expect(existsSync(`/sys/fs/cgroup/pids/slipway/${lab.settings.instance}`)).toBe(false);
    expect(existsSync(`/sys/fs/cgroup/slipway/${lab.settings.instance}`)).toBe(false);
    await teardownHost(lab.settings, signal);

    const machines = createMachines({ containerd: lab.containerd, settings: lab.settings });
    await expect(machines.inspect(org, "comes-back", signal)).resolves.toMatchObject({ state: "stopped", address: ran.address });
    const revived = await machines.revive(org, "comes-back", signal);
    expect(revived).toMatchObject({ state: "running", address: ran.address });
    expect(await page(`http://${ran.address}/hosts`)).toContain("comes-back");
    expect((await machines.revive(org, "comes-back", signal))?.pid).toBe(revived?.pid);
    expect(await machines.revive(org, "stays-away", signal)).toBeUndefined();
    expect(await machines.revive(org, "never-was", signal)).toBeUndefined();
    for (const id of ["comes-back", "stays-away"]) await machines.remove(org, id, kill, signal);
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

  async function collect(): Promise<void> {
    const ctr = lab.containerd.namespace(orgNamespace(org));
    await ctr.leases.create({ id: "collect" }, { signal });
    await ctr.leases.delete({ id: "collect", sync: true }, { signal });
  }

  async function limit(machine: MachineState, controller: string, v1: string, v2: string): Promise<string> {
    const cgroup = machineCgroup(lab.settings.instance, org, machine.id);
    const file = existsSync("/sys/fs/cgroup/cgroup.controllers")
      ? `/sys/fs/cgroup${cgroup}/${v2}`
      : `/sys/fs/cgroup/${controller}${cgroup}/${v1}`;
    return (await readFile(file, "utf8")).trim();
  }
});

/** A zombie, whose parent has yet to take notice, runs no more. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function link(file: string): Promise<string> {
  const { readlink } = await import("node:fs/promises");
  return await readlink(file);
}

/** A network namespace that stands for the world: it knows no way to the machines' addresses but the host. */
async function openOutside(instance: string): Promise<AsyncDisposable & { name: string; address: string }> {
  const name = `out-${instance}`;
  const cable = `o${instance}`;
  const ip = (line: string) => runProgram("ip", line.split(" "));
  await ip(`netns add ${name}`);
  await ip(`link add ${cable} type veth peer name eth0 netns ${name}`);
  await ip(`address add 198.51.100.1/24 dev ${cable}`);
  await ip(`link set dev ${cable} up`);
  await ip(`-n ${name} address add 198.51.100.2/24 dev eth0`);
  await ip(`-n ${name} link set dev eth0 up`);
  await ip(`-n ${name} link set dev lo up`);
  const server = spawn("ip", ["netns", "exec", name, "busybox", "httpd", "-f", "-p", "9000", "-h", "/etc"], { stdio: "ignore" });
  await until(() => page(`http://198.51.100.2:9000/hostname`));
  return {
    name,
    address: "198.51.100.2",
    async [Symbol.asyncDispose]() {
      server.kill("SIGKILL");
      await ip(`link delete dev ${cable}`);
      await ip(`netns delete ${name}`);
    },
  };
}

async function listener(host: string, port: number): Promise<AsyncDisposable & { port: number }> {
  const server = net.createServer((socket) => socket.end("hello"));
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, host, resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))),
  };
}

/** The text of a page, from a server that may be starting. */
async function page(url: string): Promise<string> {
  return await until(async () => {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
      return await response.text();
    } catch {
      return undefined;
    }
  });
}

async function until<T>(probe: () => Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
