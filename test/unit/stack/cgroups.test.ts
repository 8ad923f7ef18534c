import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { requireCgroups } from "../../../stack/doctor/cgroups.ts";

let mountpoint = "";
beforeEach(() => {
  mountpoint = mkdtempSync(path.join(tmpdir(), "slipway-cgroups-"));
});
afterEach(() => rmSync(mountpoint, { recursive: true }));

const put = (files: Readonly<Record<string, string>>) => {
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(mountpoint, name), content);
};

describe("cgroup version 2", () => {
  // as Debian 13 has it
  const root = { "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n", "cgroup.procs": "1\n2\n" };

  test("is taken as Debian 13 mounts it", () => {
    put({ ...root, "cgroup.subtree_control": "" });
    expect(requireCgroups(mountpoint)).toBe("version 2");
  });

  test("without the memory controller is refused", () => {
    put({ ...root, "cgroup.controllers": "cpuset cpu io hugetlb pids\n" });
    expect(() => requireCgroups(mountpoint)).toThrow("version 2 without the controllers memory");
  });

  test("of a container is refused while the container's processes are in its root", () => {
    put({ ...root, "cgroup.type": "domain\n", "cgroup.subtree_control": "\n" });
    expect(() => requireCgroups(mountpoint)).toThrow(/holds processes and gives the controllers cpu memory pids to no group beneath/);
  });

  test("of a container is taken once its processes have moved, or the controllers are given", () => {
    put({ ...root, "cgroup.type": "domain\n", "cgroup.subtree_control": "\n", "cgroup.procs": "" });
    expect(requireCgroups(mountpoint)).toBe("version 2");
    put({ "cgroup.subtree_control": "cpu memory pids\n", "cgroup.procs": "" });
    expect(requireCgroups(mountpoint)).toBe("version 2");
  });
});

describe("cgroup version 1", () => {
  const mounted = ["blkio", "cpu,cpuacct", "devices", "freezer", "memory", "pids", "systemd", "unified"];

  test("is taken, also where cpu is mounted together with cpuacct and version 2 has no controllers", () => {
    for (const name of mounted) mkdirSync(path.join(mountpoint, name));
    expect(requireCgroups(mountpoint)).toMatch(/^version 1/);
  });

  test("without pids is refused", () => {
    for (const name of mounted.filter((each) => each !== "pids")) mkdirSync(path.join(mountpoint, name));
    expect(() => requireCgroups(mountpoint)).toThrow("version 1 without the controllers pids");
  });

  test("that is not mounted is refused", () => {
    expect(() => requireCgroups(mountpoint)).toThrow(`no controllers in ${mountpoint}`);
  });
});
