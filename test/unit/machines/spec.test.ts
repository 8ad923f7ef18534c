import { describe, expect, test } from "vitest";
import { sandboxedCapabilities } from "../../../machines/capabilities.ts";
import { idMappingOf } from "../../../machines/id-mapping.ts";
import type { ImageConfig } from "../../../machines/image-config.ts";
import { runtimeSpec, type SpecInput } from "../../../machines/spec.ts";
import type { MachinePlan } from "../../../machines/types.ts";
import { digestOf } from "../../../oci/digest.ts";

const plan: MachinePlan = {
  org: "acme",
  id: "web-app-0-v1",
  labels: {},
  image: { name: "registry/acme/web:1", digest: digestOf("image") },
  env: { PORT: "8080" },
  isolation: "sandboxed",
  mounts: [],
  limits: { memoryMb: 256, cpus: 0.5, pids: 100 },
  hosts: [],
};

const image: ImageConfig = {
  entrypoint: ["/entry"],
  command: ["serve"],
  env: ["PATH=/app/bin", "PORT=1"],
  workingDir: "/app",
  user: "",
  chainId: "sha256:00",
};

const clone3 = { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 };
const seccomp = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }, clone3] };

function input(overrides: Partial<SpecInput> = {}): SpecInput {
  return {
    plan,
    image,
    user: { uid: 0, gid: 0 },
    idMapping: idMappingOf("00000001", 3),
    cgroupsPath: "/slipway/00000001/acme/web-app-0-v1",
    nameFiles: [],
    seccomp,
    kernel: { capabilities: 0x1ff_ffff_ffffn, cpuCount: 2, swapAccounting: true, maxOpenFiles: 1_048_576, cgroupVersion: 1 },
    ...overrides,
  };
}

describe("a sandboxed machine's spec", () => {
  const spec = runtimeSpec(input());

  test("has a user namespace of 65,536 ids that are nobody's on the host", () => {
    expect(spec.linux.namespaces).toContainEqual({ type: "user" });
    expect(spec.linux.uidMappings).toEqual([{ containerID: 0, hostID: 2 * 2 ** 24 + 3 * 65_536, size: 65_536 }]);
    expect(spec.linux.gidMappings).toEqual(spec.linux.uidMappings);
  });

  test("has every namespace of its own and joins none", () => {
    expect(spec.linux.namespaces).toEqual(["pid", "ipc", "uts", "mount", "network", "cgroup", "user"].map((type) => ({ type })));
  });

  test("gives no more capabilities than the listed, no inheritable or ambient ones, and no new privileges", () => {
    expect(spec.process.capabilities).toEqual({
      bounding: sandboxedCapabilities,
      effective: sandboxedCapabilities,
      permitted: sandboxedCapabilities,
    });
    expect(sandboxedCapabilities).not.toContain("CAP_SYS_ADMIN");
    expect(sandboxedCapabilities).not.toContain("CAP_NET_RAW");
    expect(sandboxedCapabilities).not.toContain("CAP_MKNOD");
    expect(spec.process.noNewPrivileges).toBe(true);
  });

  test("has the seccomp profile as it is", () => {
    expect(spec.linux.seccomp).toEqual(seccomp);
  });

  test("denies all devices, hides the host's files and mounts sysfs and cgroups read-only", () => {
    expect(spec.linux.resources.devices).toEqual([{ allow: false, access: "rwm" }]);
    expect(spec.linux.maskedPaths).toContain("/proc/kcore");
    expect(spec.linux.maskedPaths).toContain("/sys/devices/virtual/powercap");
    expect(spec.linux.maskedPaths).toContain("/sys/devices/system/cpu/cpu1/thermal_throttle");
    expect(spec.linux.readonlyPaths).toContain("/proc/sys");
    for (const destination of ["/sys", "/sys/fs/cgroup"]) {
      expect(spec.mounts.find((mount) => mount.destination === destination)?.options).toContain("ro");
    }
  });

  test("limits memory without swap, cpu and processes", () => {
    expect(spec.linux.resources.memory).toEqual({ limit: 256 * 1024 * 1024, swap: 256 * 1024 * 1024 });
    expect(spec.linux.resources.cpu).toEqual({ shares: 512, quota: 50_000, period: 100_000 });
    expect(spec.linux.resources.pids).toEqual({ limit: 100 });
  });

  test("runs the image's process with the plan's environment over the image's", () => {
    expect(spec.process.args).toEqual(["/entry", "serve"]);
    expect(spec.process.cwd).toBe("/app");
    expect(spec.process.env).toEqual(["PATH=/app/bin", "PORT=8080"]);
  });

  test("takes the plan's args instead of entrypoint and command together", () => {
    expect(runtimeSpec(input({ plan: { ...plan, args: ["other"] } })).process.args).toEqual(["other"]);
  });

  test("is refused when there is nothing to run or the working directory is relative", () => {
    expect(() => runtimeSpec(input({ image: { ...image, entrypoint: [], command: [] } }))).toThrow(/ENTRYPOINT nor CMD/);
    expect(() => runtimeSpec(input({ image: { ...image, workingDir: "../etc" } }))).toThrow(/absolute/);
  });

  test("never asks for more open files than the host's root may", () => {
    const kernel = { ...input().kernel, maxOpenFiles: 20_000 };
    expect(runtimeSpec(input({ kernel })).process.rlimits[0]).toEqual({ type: "RLIMIT_NOFILE", hard: 20_000, soft: 20_000 });
  });
});

describe("a privileged machine's spec", () => {
  const standing = { network: "/run/slipway/networks/acme/builder", user: "/run/slipway/networks/acme/builder.user" };

  test("joins the network that stands ready for it, and no other namespace", () => {
    const { namespaces } = runtimeSpec(input({ plan: { ...plan, isolation: "privileged" }, standing })).linux;
    expect(namespaces.filter((each) => each.path !== undefined)).toEqual([{ type: "network", path: standing.network }]);
  });

  test("with a user namespace is nobody on the host, and shows it the owners of its volumes as they are", () => {
    const mounts = [{ source: "/data", destination: "/var/lib/buildkit", readOnly: false }];
    const { linux, mounts: made } = runtimeSpec(
      input({ plan: { ...plan, isolation: "privileged", userNamespace: true, mounts }, standing }),
    );
    expect(linux.namespaces).toContainEqual({ type: "user", path: standing.user });
    expect(linux.uidMappings?.[0]?.hostID).toBeGreaterThan(0);
    expect(made.at(-1)).toEqual({
      destination: "/var/lib/buildkit",
      type: "bind",
      source: "/data",
      options: ["rbind", "rw", "ridmap"],
      uidMappings: linux.uidMappings,
      gidMappings: linux.gidMappings,
    });
  });

  const spec = runtimeSpec(input({ plan: { ...plan, isolation: "privileged" } }));

  test("adds to the seccomp profile what builds take, and programs of the kernel only where cgroups are made of them", () => {
    const namesOf = (profile: typeof spec.linux.seccomp) => (profile!.syscalls as (typeof clone3)[]).flatMap(({ names }) => names);
    expect(spec.linux.seccomp).toMatchObject({ defaultAction: "SCMP_ACT_ERRNO" });
    expect(namesOf(spec.linux.seccomp)).toEqual(expect.arrayContaining(["read", "mount", "pivot_root", "clone3"]));
    // one rule for a call: libseccomp takes the first
    expect(spec.linux.seccomp!.syscalls).not.toContainEqual(clone3);
    expect(namesOf(spec.linux.seccomp)).not.toContain("bpf");
    const kernel = { ...input().kernel, cgroupVersion: 2 as const };
    expect(namesOf(runtimeSpec(input({ kernel, plan: { ...plan, isolation: "privileged" } })).linux.seccomp)).toContain("bpf");
  });

  test("may do what running build steps takes, has no device of the host, and no user namespace", () => {
    expect(spec.linux.namespaces).not.toContainEqual({ type: "user" });
    expect(spec.linux.uidMappings).toBeUndefined();
    expect(spec.process.capabilities.bounding).toContain("CAP_SYS_ADMIN");
    for (const name of ["CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_DAC_READ_SEARCH"]) {
      expect(spec.process.capabilities.bounding).not.toContain(name);
    }
    expect(spec.linux.resources.devices).toEqual([{ allow: false, access: "rwm" }]);
  });

  test("still has namespaces of its own", () => {
    for (const type of ["pid", "ipc", "uts", "mount", "network", "cgroup"]) expect(spec.linux.namespaces).toContainEqual({ type });
  });
});

test("the id ranges of orgs and instances do not overlap and stay below 2^31", () => {
  const ranges = ["00000000", "00000001", "00000077"].flatMap((instance) => [0, 1, 255].map((org) => idMappingOf(instance, org).hostID));
  const sorted = ranges.toSorted((a, b) => a - b);
  for (let at = 1; at < sorted.length; at++) expect(sorted[at]! - sorted[at - 1]!).toBeGreaterThanOrEqual(65_536);
  expect(sorted[0]).toBeGreaterThanOrEqual(2 ** 24);
  expect(sorted.at(-1)! + 65_536).toBeLessThanOrEqual(2 ** 31);
});
