import { builderSeccomp } from "./builder-seccomp.ts";
import { builderCapabilities, sandboxedCapabilities } from "./capabilities.ts";
import type { IdMapping } from "./id-mapping.ts";
import type { ImageConfig } from "./image-config.ts";
import type { RuntimeSpec, SeccompProfile, SpecCapabilities, SpecMount, SpecNamespace, SpecResources, SpecUser } from "./oci-spec.ts";
import { processCommand } from "./process-command.ts";
import { maskedPaths, mountsOf, readonlyPaths } from "./spec-filesystem.ts";
import type { StandingFiles } from "./network/standing-network.ts";
import { hasUserNamespace, type MachinePlan } from "./types.ts";

export type SpecInput = {
  readonly plan: MachinePlan;
  readonly image: ImageConfig;
  readonly user: SpecUser;
  readonly idMapping: IdMapping;
  readonly cgroupsPath: string;
  /** hosts, resolv.conf and hostname, as bind mounts */
  readonly nameFiles: readonly SpecMount[];
  /** the namespaces to join; absent: new ones */
  readonly standing?: StandingFiles;
  /** of a sandboxed machine */
  readonly seccomp: SeccompProfile;
  readonly kernel: {
    /** what this host's root may do; within a container of CI that is not everything */
    readonly capabilities: bigint;
    readonly cpuCount: number;
    readonly swapAccounting: boolean;
    readonly maxOpenFiles: number;
    readonly cgroupVersion: 1 | 2;
  };
};

/**
 * The OCI runtime spec of a machine, from an allow-list: what is not named here, the machine does not have. containerd adds
 * nothing for a gRPC client, so a missing field means no protection. Nothing of the image but its process is taken over: no
 * volumes, health checks or labels (CVE-2022-23648, CVE-2026-53488).
 */
export function runtimeSpec(input: SpecInput): RuntimeSpec {
  return input.plan.isolation === "privileged" ? privilegedSpec(input) : sandboxedSpec(input);
}

function sandboxedSpec(input: SpecInput): RuntimeSpec {
  return {
    ...base(input, sandboxedCapabilities),
    linux: {
      cgroupsPath: input.cgroupsPath,
      // runc makes the network namespace, so that it belongs to the user namespace: sysfs could not be mounted otherwise
      namespaces: [...ownNamespaces, { type: "user" } as const].map((each) => standingIn(each, input.standing)),
      resources: resourcesOf(input),
      uidMappings: [input.idMapping],
      gidMappings: [input.idMapping],
      seccomp: input.seccomp,
      maskedPaths: maskedPaths(input.kernel.cpuCount),
      readonlyPaths,
      sysctl: { "net.ipv4.ip_unprivileged_port_start": "0" },
    },
  };
}

/** Without devices and what runs no builds: for the builder alone, which sandboxes its build steps. */
function privilegedSpec(input: SpecInput): RuntimeSpec {
  const mapped = hasUserNamespace(input.plan);
  return {
    ...base(input, builderCapabilities(input.kernel.capabilities)),
    linux: {
      cgroupsPath: input.cgroupsPath,
      namespaces: [...ownNamespaces, ...(mapped ? [{ type: "user" } as const] : [])].map((each) => standingIn(each, input.standing)),
      resources: resourcesOf(input),
      ...(mapped ? { uidMappings: [input.idMapping], gidMappings: [input.idMapping] } : {}),
      seccomp: builderSeccomp(input.seccomp, { bpf: input.kernel.cgroupVersion === 2 }),
      maskedPaths: [],
      readonlyPaths: [],
    },
  };
}

function standingIn(namespace: SpecNamespace, files: StandingFiles | undefined): SpecNamespace {
  const file = namespace.type === "network" || namespace.type === "user" ? files?.[namespace.type] : undefined;
  return file === undefined ? namespace : { ...namespace, path: file };
}

const ownNamespaces = [
  { type: "pid" },
  { type: "ipc" },
  { type: "uts" },
  { type: "mount" },
  { type: "network" },
  { type: "cgroup" },
] as const;

function base(input: SpecInput, capabilities: readonly string[]): Omit<RuntimeSpec, "linux"> {
  const { plan, image } = input;
  const privileged = plan.isolation === "privileged";
  const command = processCommand(plan, image);
  const files = Math.min(privileged ? 1_048_576 : 65_536, input.kernel.maxOpenFiles);
  return {
    ociVersion: "1.2.0",
    process: {
      terminal: false,
      user: input.user,
      ...command,
      capabilities: capabilitySets(capabilities),
      rlimits: [
        { type: "RLIMIT_NOFILE", hard: files, soft: files },
        { type: "RLIMIT_CORE", hard: 0, soft: 0 },
      ],
      noNewPrivileges: !privileged,
      oomScoreAdj: privileged ? 100 : 500,
    },
    root: { path: "rootfs", readonly: false },
    hostname: hostnameOf(plan.id),
    mounts: mountsOf(plan, input.nameFiles, input.idMapping),
  };
}

function capabilitySets(names: readonly string[]): SpecCapabilities {
  return { bounding: names, effective: names, permitted: names };
}

function resourcesOf({ plan, kernel }: SpecInput): SpecResources {
  const memoryBytes = plan.limits.memoryMb * 1024 * 1024;
  const period = 100_000;
  return {
    // runc makes /dev/{null,zero,full,tty,random,urandom} and adds their rules itself, and that nodes may be made, though not opened
    devices: [{ allow: false, access: "rwm" }],
    // memory and swap together no more than memory alone: no swap
    memory: { limit: memoryBytes, ...(kernel.swapAccounting ? { swap: memoryBytes } : {}) },
    cpu: { shares: Math.max(2, Math.round(plan.limits.cpus * 1024)), quota: Math.max(1000, Math.round(plan.limits.cpus * period)), period },
    pids: { limit: plan.limits.pids },
  };
}

/** A hostname is 64 bytes at most (sethostname(2)). */
export function hostnameOf(machineId: string): string {
  return machineId.slice(0, 63).replace(/-+$/, "");
}
