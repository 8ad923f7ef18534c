import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** Machines are limited by them and, on version 1, held and stopped with them. */
const wanted = { v1: ["cpu", "devices", "freezer", "memory", "pids"], v2: ["cpu", "memory", "pids"] } as const;

/** The version in use, when it has the controllers that machines need. @throws Error naming what is missing */
export function requireCgroups(mountpoint: string): string {
  const file = path.join(mountpoint, "cgroup.controllers");
  if (existsSync(file)) {
    requireControllers("version 2", readFileSync(file, "utf8").trim().split(" "), wanted.v2);
    requireDelegation(mountpoint);
    return "version 2";
  }
  const mounted = existsSync(mountpoint) ? readdirSync(mountpoint) : [];
  if (!mounted.includes("memory")) throw new Error(`no controllers in ${mountpoint}`);
  requireControllers(
    "version 1",
    mounted.flatMap((name) => name.split(",")),
    wanted.v1,
  );
  return "version 1 (works; containerd calls it deprecated)";
}

function requireControllers(version: string, found: readonly string[], expected: readonly string[]): void {
  const missing = expected.filter((name) => !found.includes(name));
  if (missing.length > 0) throw new Error(`${version} without the controllers ${missing.join(" ")}`);
}

/**
 * In a container of CI the mount point is no root (which has no `cgroup.type`), and while it holds processes of its own the kernel gives
 * no controllers to what is beneath it (Control Group v2, "No Internal Process Constraint").
 */
function requireDelegation(mountpoint: string): void {
  const read = (name: string) => readFileSync(path.join(mountpoint, name), "utf8").trim();
  if (!existsSync(path.join(mountpoint, "cgroup.type"))) return;
  const given = read("cgroup.subtree_control").split(" ");
  const missing = wanted.v2.filter((name) => !given.includes(name));
  if (missing.length === 0 || read("cgroup.procs") === "") return;
  throw new Error(
    `version 2, where ${mountpoint} holds processes and gives the controllers ${missing.join(" ")} to no group beneath it; ` +
      "move the processes into a group first, as docker:dind does",
  );
}
