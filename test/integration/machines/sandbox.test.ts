import { existsSync, readFileSync } from "node:fs";
import { readFile, readlink, rm } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { instancePaths, orgNamespace } from "../../../config/paths.ts";
import { writeFileAtomic } from "../../../config/write-file-atomic.ts";
import { machineCgroup } from "../../../machines/cgroup.ts";
import { machineLogTail } from "../../../machines/logs/tail.ts";
import type { MachineState } from "../../../machines/types.ts";
import { until } from "./support/observe.ts";
import { openWebLab, type WebLab } from "./support/web-lab.ts";

const signal = AbortSignal.timeout(240_000);
let lab: WebLab;

beforeAll(async () => {
  lab = await openWebLab(signal);
});
afterAll(async () => await lab?.[Symbol.asyncDispose]());

test("a sandboxed machine runs as nobody of the host, with seccomp, without privileges, within its limits", async () => {
  const machine = await lab.start("sandbox");
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
    const [own, host] = await Promise.all([readlink(`/proc/${machine.pid}/ns/${namespace}`), readlink(`/proc/self/ns/${namespace}`)]);
    expect(own).not.toBe(host);
  }
  expect(await limit(machine, "memory", "memory.limit_in_bytes", "memory.max")).toBe(String(64 * 1024 * 1024));
  expect(await limit(machine, "pids", "pids.max", "pids.max")).toBe("64");
  await lab.remove(machine.id);
});

test("a sandboxed machine can neither mount nor write to the kernel's settings, and may bind low ports", async () => {
  const seen = await lab.output(
    "curious",
    "mount -t tmpfs none /tmp; echo 1 > /proc/sys/kernel/panic; id -u; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
  );
  expect(seen).toMatch(/mount: .*(denied|permitted)/);
  expect(seen).toMatch(/panic: (Permission denied|Read-only file system)/);
  expect(seen).toMatch(/^1000\n0$/m);
});

test("a machine finds the CA of the mirror's certificate in a file that it can only read", async () => {
  await writeFileAtomic(instancePaths.mirrorCa(lab.settings), "-----BEGIN CERTIFICATE-----\n");
  const seen = await lab.output("trusting", "cat /etc/slipway/ca.pem; echo more >> /etc/slipway/ca.pem");
  expect(seen).toMatch(/^-----BEGIN CERTIFICATE-----$/m);
  expect(seen).toMatch(/(Permission denied|Read-only file system)/);
  await rm(instancePaths.mirrorCa(lab.settings));
});

test("no label of the image reaches the container, and the plan may set labels of ours only", async () => {
  await lab.start("labels");
  const { container } = await lab.containerd.namespace(orgNamespace(lab.org)).containers.get({ id: "labels" }, { signal });
  expect(Object.keys(container!.labels).toSorted()).toEqual(["containerd.io/gc.ref.content.image", "slipway.digest", "slipway.role"]);
  await lab.remove("labels");
  const foreign = lab.plan({ id: "foreign", image: lab.web, labels: { "containerd.io/restart.status": "running" } });
  await expect(lab.machines.start(foreign, signal)).rejects.toThrow(/slipway\./);
});

test("a privileged machine can mount, for the builder", async () => {
  const plan = lab.plan({
    id: "builder",
    image: lab.web,
    isolation: "privileged",
    args: ["sh", "-c", "mount -t tmpfs none /tmp && echo mounted"],
  });
  const root = await lab.importImage(lab.org, "registry/test/root:1", {});
  await lab.machines.start({ ...plan, image: { name: "registry/test/root:1", digest: root } }, signal);
  await until(async () => (await machineLogTail(lab.settings, lab.org, "builder", 5)).includes("mounted"));
  await lab.remove("builder");
});

async function limit(machine: MachineState, controller: string, v1: string, v2: string): Promise<string> {
  const cgroup = machineCgroup(lab.settings.instance, lab.org, machine.id);
  const file = existsSync("/sys/fs/cgroup/cgroup.controllers")
    ? `/sys/fs/cgroup${cgroup}/${v2}`
    : `/sys/fs/cgroup/${controller}${cgroup}/${v1}`;
  return (await readFile(file, "utf8")).trim();
}
