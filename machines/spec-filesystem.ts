import type { IdMapping } from "./id-mapping.ts";
import type { SpecMount } from "./oci-spec.ts";
import type { MachinePlan } from "./types.ts";

/** containerd's list (pkg/oci/spec.go), which hides what tells of or reaches into the host. */
export function maskedPaths(cpuCount: number): readonly string[] {
  const throttle = Array.from({ length: cpuCount }, (_, cpu) => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`);
  return [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
    ...throttle,
  ];
}

export const readonlyPaths: readonly string[] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

export function mountsOf(plan: MachinePlan, nameFiles: readonly SpecMount[], idMapping: IdMapping): readonly SpecMount[] {
  const system = plan.isolation === "privileged" ? privilegedMounts : sandboxedMounts;
  const binds = plan.mounts.map((mount) => ({
    destination: mount.destination,
    type: "bind",
    source: mount.source,
    options: ["rbind", "nosuid", "nodev", mount.readOnly ? "ro" : "rw"],
  }));
  const privileged = plan.userNamespace === true ? (mount: SpecMount) => withOwners(withDevices(mount), idMapping) : withDevices;
  return [...system, ...nameFiles, ...(plan.isolation === "privileged" ? binds.map(privileged) : binds)];
}

/** Root of the machine owns what root of the host owns, and what it makes is root's on the disk: the volume can be used in either way. */
function withOwners(mount: SpecMount, idMapping: IdMapping): SpecMount {
  return { ...mount, options: [...mount.options, "ridmap"], uidMappings: [idMapping], gidMappings: [idMapping] };
}

/** A builder's cache volume holds whole root filesystems: their device nodes and setuid files are part of what is built. */
function withDevices(mount: SpecMount): SpecMount {
  return { ...mount, options: mount.options.filter((option) => option !== "nosuid" && option !== "nodev") };
}

const common: readonly SpecMount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
];

const sandboxedMounts: readonly SpecMount[] = [
  ...common,
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
  { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"] },
];

const privilegedMounts: readonly SpecMount[] = [
  ...common,
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "rw"] },
  { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "rw"] },
  { destination: "/run", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"] },
];
