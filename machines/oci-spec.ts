import type { IdMapping } from "./id-mapping.ts";

/** The part of the OCI runtime spec (1.2, config.md and config-linux.md) that machines use. */
export type SpecMount = {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
  /** with the option `ridmap`: ids within the machine, and those of the host that they are not to appear as */
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
};

export type SpecUser = { readonly uid: number; readonly gid: number; readonly additionalGids?: readonly number[] };

export type SpecNamespace = {
  readonly type: "pid" | "ipc" | "uts" | "mount" | "network" | "cgroup" | "user";
  /** joined instead of made */
  readonly path?: string;
};

export type DeviceRule = {
  readonly allow: boolean;
  readonly type?: "a" | "b" | "c";
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
};

export type SpecResources = {
  readonly devices: readonly DeviceRule[];
  readonly memory: { readonly limit: number; readonly swap?: number };
  readonly cpu: { readonly shares: number; readonly quota: number; readonly period: number };
  readonly pids: { readonly limit: number };
};

export type SpecCapabilities = Readonly<Record<"bounding" | "effective" | "permitted", readonly string[]>>;

/** `linux.seccomp` of the spec, handed through as it was generated. */
export type SeccompProfile = Readonly<Record<string, unknown>>;

export type RuntimeSpec = {
  readonly ociVersion: string;
  readonly process: {
    readonly terminal: false;
    readonly user: SpecUser;
    readonly args: readonly string[];
    readonly env: readonly string[];
    readonly cwd: string;
    readonly capabilities: SpecCapabilities;
    readonly rlimits: readonly { readonly type: string; readonly hard: number; readonly soft: number }[];
    readonly noNewPrivileges: boolean;
    readonly oomScoreAdj: number;
  };
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly SpecMount[];
  readonly linux: {
    readonly cgroupsPath: string;
    readonly namespaces: readonly SpecNamespace[];
    readonly resources: SpecResources;
    readonly uidMappings?: readonly IdMapping[];
    readonly gidMappings?: readonly IdMapping[];
    readonly seccomp?: SeccompProfile;
    readonly maskedPaths: readonly string[];
    readonly readonlyPaths: readonly string[];
    readonly sysctl?: Readonly<Record<string, string>>;
  };
};
