import { execFile } from "node:child_process";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { constants } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { builderMachineId } from "../../../machines/types.ts";
import { instancePaths, orgNamespace } from "../../../config/paths.ts";
import { enterMachine } from "./enter-machine.ts";
import { type BuilderLab, openBuilderLab } from "./builder-lab.ts";
import { buildCallProbe } from "./probe-calls.ts";

const run = promisify(execFile);
const { EPERM } = constants.errno;

const signal = AbortSignal.timeout(280_000);

/** What a build step finds out about where it runs; a line each, as `name=value`. */
const lookAround = `RUN awk '/^(CapEff|CapBnd|Seccomp):/ { sub(":", ""); print $1 "=" $2 }' /proc/self/status
RUN for ns in net pid ipc uts mnt; do echo "$ns=$(readlink /proc/self/ns/$ns)"; done
RUN echo "devices=$(find /dev -type b -o -type c | sort | xargs echo)"
RUN echo "socket=$(find / -xdev -name 'buildkitd*' | wc -l)"
RUN echo "listening=$(cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == "0A"' | wc -l)"
RUN mknod /loop b 7 0; mknod /kmsg c 1 11; for node in /loop /kmsg; do dd if=$node of=/dev/null count=1 2>&1 | tail -n 1; done
RUN echo "root=$(awk '$1 == 0 { print $2 }' /proc/self/uid_map)"
RUN mount -t tmpfs none /tmp 2>&1 || echo "mount=refused"
RUN echo 1 2>/dev/null > /proc/sys/kernel/panic || echo "sysctl=refused"
`;

let builder: BuilderLab;
let address: string;
let found: Readonly<Record<string, string>>;
let lines: readonly string[];

beforeAll(async () => {
  builder = await openBuilderLab();
  ({ address } = await builder.open({ whenIdle: "off" }).wake(builder.org, { signal }));
  ({ lines } = await builder.build(address, lookAround));
  found = Object.fromEntries(lines.filter((line) => line.includes("=")).map((line) => line.split("=", 2)));
});

afterAll(async () => await builder?.[Symbol.asyncDispose]());

const capability = (set: string, number: number) => (BigInt(`0x${set}`) >> BigInt(number)) & 1n;

describe("a build step", () => {
  it("has no namespace of the host, and none of the builder but its network", async () => {
    const { pid } = (await builder.machine())!;
    for (const namespace of ["net", "pid", "ipc", "uts", "mnt"]) {
      expect(found[namespace], namespace).not.toBe(readlinkSync(`/proc/self/ns/${namespace}`));
      const ofBuilder = readlinkSync(`/proc/${pid}/ns/${namespace}`);
      if (namespace === "net") expect(found[namespace]).toBe(ofBuilder);
      else expect(found[namespace], namespace).not.toBe(ofBuilder);
    }
  });

  it("is nobody on the host, as its builder is", async () => {
    const { pid } = (await builder.machine())!;
    const [inMachine, onHost] = readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/).map(Number);
    expect(inMachine).toBe(0);
    expect(onHost).toBeGreaterThan(65_535);
    expect(found.root).toBe(String(onHost));
  });

  it("is filtered by seccomp, and may neither mount nor load nor trace", () => {
    expect(found.Seccomp).toBe("2");
    // SYS_MODULE, SYS_PTRACE, SYS_ADMIN, NET_ADMIN
    for (const number of [16, 19, 21, 12]) {
      expect(capability(found.CapEff!, number)).toBe(0n);
      expect(capability(found.CapBnd!, number)).toBe(0n);
    }
    expect(found.mount ?? lines.find((line) => line.includes("mount:"))).toMatch(/refused|permission denied|not permitted/i);
    expect(found.sysctl).toBe("refused");
  });

  it("finds no device but the harmless ones, and makes none", () => {
    const names = found.devices!.split(" ").map((file) => file.replace("/dev/", ""));
    expect(names.filter((name) => !/^(console|full|null|ptmx|random|tty|urandom|zero|pts\/.*)$/.test(name))).toEqual([]);
    expect(lines.filter((line) => /^mknod: .*(not permitted)/.test(line))).toHaveLength(2);
  });

  it("finds neither the builder's socket nor a port that it listens on", () => {
    expect(found.socket).toBe("0");
    expect(found.listening).toBe("0");
  });
});

describe("the builder's machine", () => {
  it("lacks what runs no builds", async () => {
    const { pid } = (await builder.machine())!;
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const bounding = /^CapBnd:\s+(\w+)$/m.exec(status)![1]!;
    // DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_BOOT, SYS_TIME, SYSLOG
    for (const number of [2, 16, 17, 22, 25, 34]) expect(capability(bounding, number)).toBe(0n);
  });

  it("is filtered: calls that running builds does not take are refused, also those that this host's root may make", async () => {
    const { lab, org } = builder;
    const { pid } = (await builder.machine())!;
    expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/^Seccomp:\s+2$/m);
    await using probe = await buildCallProbe();
    const ctr = [path.join(inject("toolsBinDir"), "ctr"), "-a", lab.containerd.socket, "-n", orgNamespace(org)] as const;
    const [outside, inside] = [await probe.onHost(), await probe.inMachine({ pid: pid!, ctr, id: builderMachineId })];
    const refused = Object.keys(inside).filter((call) => inside[call] === EPERM);
    const never = ["init_module", "finit_module", "delete_module", "kexec_load", "open_by_handle_at", "userfaultfd", "perf_event_open"];
    const nor = ["io_uring_setup", "fanotify_init", "quotactl", "swapon", "syslog", "add_key", "request_key", "keyctl", "reboot", "acct"];
    const onCgroup1 = existsSync("/sys/fs/cgroup/cgroup.controllers") ? [] : ["bpf"];
    expect(refused.toSorted()).toEqual([...never, ...nor, "settimeofday", ...onCgroup1].toSorted());
    // it is not the arguments, and not the lack of a capability alone
    const givenToRoot = ["open_by_handle_at", "userfaultfd", "perf_event_open", "fanotify_init", "add_key", "keyctl", "bpf"];
    for (const call of givenToRoot) expect(outside[call], call).not.toBe(EPERM);
  });
});

const layers = `RUN cp /bin/busybox /su && chmod 4755 /su && touch /theirs && chown 1000:2000 /theirs && touch /gone && mkdir /emptied && touch /emptied/old
RUN rm /gone && rm -r /emptied && mkdir /emptied
RUN stat -c '%n %F %a %u:%g' /su /theirs; ls /emptied; ls /gone 2>&1 || true
`;

async function keepsWhatALayerHas(of: string): Promise<void> {
  const { lines: told } = await builder.build(of, layers);
  expect(told).toContain("/su regular file 4755 0:0");
  expect(told).toContain("/theirs regular empty file 644 1000:2000");
  expect(told.some((line) => line.includes("old"))).toBe(false);
  expect(told.find((line) => line.includes("/gone"))).toMatch(/No such file/);
}

it("a build keeps setuid programs, owners and deletions from layer to layer", async () => {
  await keepsWhatALayerHas(address);
});

describe("a step that is given security.insecure", () => {
  it("has what its builder has, is nobody on the host all the same, and is the only one", async () => {
    const builders = builder.open({ whenIdle: "off", entitlements: ["security.insecure"] });
    await builders.wake(builder.org, { signal });
    const look = `mount -t tmpfs none /mnt && echo mounted; grep CapEff /proc/self/status; awk '{ print "root", $2 }' /proc/self/uid_map`;
    const dockerfile = `RUN mkdir /mnt\nRUN --security=insecure ${look}\nRUN mount -t tmpfs none /mnt || echo refused\n`;
    const output = await builder.build(address, dockerfile, { entitlements: ["security.insecure"] });
    const capEff = output.lines.find((line) => line.startsWith("CapEff:"))!.split(/\s+/)[1]!;
    // SYS_ADMIN; SYS_MODULE
    expect([capability(capEff, 21), capability(capEff, 16)]).toEqual([1n, 0n]);
    expect(output.lines).toEqual(expect.arrayContaining(["mounted", `root ${found.root}`, "refused"]));
    await builder.open({ whenIdle: "off" }).wake(builder.org, { signal });
  });
});

describe("a builder without a user namespace", () => {
  const rootOf = async () =>
    readFileSync(`/proc/${(await builder.machine())!.pid}/uid_map`, "utf8")
      .trim()
      .split(/\s+/)[1];

  beforeAll(async () => {
    const builders = builder.open({ whenIdle: "off", userNamespace: false });
    await builders.discard(builder.org, { dropCache: true, force: true }, signal);
    ({ address } = await builders.wake(builder.org, { signal }));
  });

  it("is root of the host, and keeps device nodes, too", async () => {
    expect(await rootOf()).toBe("0");
    await keepsWhatALayerHas(address);
    const { lines: told } = await builder.build(address, "RUN mknod /node c 1 3\nRUN stat -c '%n %F %t:%T' /node\n");
    expect(told).toContain("/node character special file 1:3");
  });

  it("cannot open a device of the host, though it may make nodes for the images it unpacks", async () => {
    const { pid } = (await builder.machine())!;
    // a loop device and the kernel's log: root may open both on every host, also within a container of CI
    const { stdout } = await enterMachine(
      pid!,
      "cd /tmp && busybox mknod loop b 7 0 && busybox mknod kmsg c 1 11; for node in loop kmsg; do busybox head -c 0 $node 2>&1; done; busybox head -c 1 /dev/zero | busybox wc -c",
    );
    const [loop, kmsg, zero] = stdout.trim().split("\n");
    expect(loop).toMatch(/loop: Operation not permitted/);
    expect(kmsg).toMatch(/kmsg: Operation not permitted/);
    expect(zero).toBe("1");
  });

  it("goes on without one on its cache, also on one of before that says nothing of it", async () => {
    const builders = builder.open({ whenIdle: "off" });
    await builders.sleep(builder.org, signal);
    await rm(`${instancePaths.builderCache(builder.settings, builder.org)}.json`);
    ({ address } = await builders.wake(builder.org, { signal }));
    expect(await rootOf()).toBe("0");
    const { steps, cachedSteps } = await builder.build(address, `${layers}RUN echo ${crypto.randomUUID()}\n`);
    expect(cachedSteps).toBe(steps - 1);
  });

  it("is what a host gets whose file system cannot show other owners", async () => {
    const builders = builder.open({ whenIdle: "off" });
    await builders.discard(builder.org, { dropCache: true, force: true }, signal);
    const cache = instancePaths.builderCache(builder.settings, builder.org);
    await mkdir(cache, { recursive: true });
    await run("mount", ["-t", "ramfs", "ramfs", cache]);
    try {
      await builders.wake(builder.org, { signal });
      expect(await rootOf()).toBe("0");
      await builders.discard(builder.org, { dropCache: false, force: true }, signal);
    } finally {
      await run("umount", ["--lazy", cache]);
    }
  });
});
