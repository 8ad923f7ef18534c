/** What a root-in-its-user-namespace image such as nginx needs to take its port, drop to another user and own its files. */
export const sandboxedCapabilities = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_KILL",
  "CAP_NET_BIND_SERVICE",
  "CAP_SETGID",
  "CAP_SETUID",
] as const;

/**
 * What even the builder does not get: modules, the clock, raw memory, the kernel's log, rules of security modules; and opening files by their
 * handle, which reaches every file of the filesystem that its cache lies on.
 */
const neverGiven: ReadonlySet<string> = new Set([
  "CAP_AUDIT_CONTROL",
  "CAP_AUDIT_READ",
  "CAP_BLOCK_SUSPEND",
  "CAP_CHECKPOINT_RESTORE",
  "CAP_DAC_READ_SEARCH",
  "CAP_MAC_ADMIN",
  "CAP_MAC_OVERRIDE",
  "CAP_PERFMON",
  "CAP_SYS_BOOT",
  "CAP_SYS_MODULE",
  "CAP_SYS_PACCT",
  "CAP_SYS_RAWIO",
  "CAP_SYS_TIME",
  "CAP_SYS_TTY_CONFIG",
  "CAP_SYSLOG",
  "CAP_WAKE_ALARM",
]);

/** What runs build steps: mounts, namespaces, owners of files. @param ofHost what this host's root may do */
export function builderCapabilities(ofHost: bigint): readonly string[] {
  return capabilityNames(ofHost).filter((name) => !neverGiven.has(name));
}

/** By number, as in linux/capability.h. */
const all = [
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST",
  "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE",
  "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM",
  "BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE",
]
  .join(" ")
  .split(" ");

/** The names in a capability set as /proc/<pid>/status writes it. */
export function capabilityNames(set: bigint): readonly string[] {
  return all.filter((_, number) => ((set >> BigInt(number)) & 1n) === 1n).map((name) => `CAP_${name}`);
}
