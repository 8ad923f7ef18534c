import type { SeccompProfile } from "./oci-spec.ts";

type Rule = {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly { readonly index: number; readonly value: number; readonly op: string }[];
};

/** What buildkitd and its runc do beyond a sandboxed machine: mounts of either kind, namespaces, another root, the host name of a step. */
const ofBuilds = [
  "chroot",
  "clone",
  "clone3",
  "fsconfig",
  "fsmount",
  "fsopen",
  "fspick",
  "mount",
  "mount_setattr",
  "move_mount",
  "open_tree",
  "open_tree_attr",
  "pivot_root",
  "setdomainname",
  "sethostname",
  "setns",
  "umount",
  "umount2",
  "unshare",
] as const;

/** KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SETPERM, KEYCTL_DESCRIBE: runc gives each step a keyring of its own. */
const keyctlCommands = [1, 5, 6];

/**
 * The filter of a builder: that of a sandboxed machine, and what running build steps takes. Its steps inherit it beneath their own. What is
 * not named stays refused whatever the capabilities: modules, kexec, the kernel's log, opening files by their handle, userfaultfd,
 * perf_event_open, io_uring, fanotify, quotas, swap.
 * @param bpf cgroup v2 has rules for devices as programs of the kernel, which runc loads
 */
export function builderSeccomp(sandboxed: SeccompProfile, { bpf }: { readonly bpf: boolean }): SeccompProfile {
  const given = new Set<string>(ofBuilds);
  const others = (sandboxed.syscalls as readonly Rule[]).filter(({ names }) => !names.some((name) => given.has(name)));
  const added: readonly Rule[] = [
    { names: [...ofBuilds, ...(bpf ? ["bpf"] : [])], action: allow },
    ...keyctlCommands.map((value) => ({ names: ["keyctl"], action: allow, args: [{ index: 0, value, op: "SCMP_CMP_EQ" }] })),
  ];
  return { ...sandboxed, syscalls: [...others, ...added] };
}

const allow = "SCMP_ACT_ALLOW";
