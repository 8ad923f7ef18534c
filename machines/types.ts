import type { Digest } from "../oci/digest.ts";
import type { MachineView } from "../workflows/types.ts";

export type BindMount = { readonly source: string; readonly destination: string; readonly readOnly: boolean };

/** A machine as wanted. Its id is deterministic: `<app>-<group>-<ordinal>-v<version>`, or `builder`. */
export type MachinePlan = {
  readonly org: string;
  readonly id: string;
  /** own labels only, `slipway.*`; no label of the image is ever copied (CVE-2026-53488) */
  readonly labels: Readonly<Record<string, string>>;
  readonly image: { readonly name: string; readonly digest: Digest };
  /** overrides the image's entrypoint and command together */
  readonly args?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** `sandboxed` is what every app gets; `privileged` is for the builder alone */
  readonly isolation: "sandboxed" | "privileged";
  /** of a privileged machine: its root is nobody on the host, and its mounts show the owners as they are; a sandboxed one has it anyway */
  readonly userNamespace?: boolean;
  readonly mounts: readonly BindMount[];
  /** its network, container and a fresh root filesystem are kept ready while it is stopped: a start is then that of its process */
  readonly standby?: boolean;
  readonly limits: { readonly memoryMb: number; readonly cpus: number; readonly pids: number };
  /** beside `_api.internal` and the registry's image host, which every machine of an org knows */
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
};

export const hasUserNamespace = ({ isolation, userNamespace }: Pick<MachinePlan, "isolation" | "userNamespace">): boolean =>
  isolation === "sandboxed" || userNamespace === true;

export type OrgNetwork = {
  readonly org: string;
  readonly bridge: string;
  /** the host's addresses on the bridge: the mirror listens here */
  readonly gatewayIpv4: string;
  readonly gatewayIpv6: string;
  readonly subnetIpv4: string;
  readonly subnetIpv6: string;
};

export type RunningMachine = MachineView & { readonly org: string; readonly address: string; readonly ipv6?: string; readonly pid: number };

export type StopOptions = { readonly signal: string; readonly timeoutMs: number };

export type MachineState = {
  readonly org: string;
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly digest: Digest;
  readonly state: "created" | "running" | "paused" | "stopped";
  readonly pid?: number;
  /** of a stopped machine the one it had, and gets again when it can */
  readonly address?: string;
  /** absent when its process is gone and nobody saw it end */
  readonly exit?: { readonly code: number; readonly atMs: number };
};

/** The machines of one host. Every call may be repeated: what is there already is answered as it is. */
export interface Machines {
  /** Bridge, addresses, filter rules of the org; stable over restarts of the host. */
  ensureNetwork(org: string, signal: AbortSignal): Promise<OrgNetwork>;
  /** Snapshot, container, task, network, start. A half-made machine of that id is finished or made anew. */
  start(plan: MachinePlan, signal: AbortSignal): Promise<MachineState>;
  /** Starts a machine whose process is gone once more, as it was planned. Undefined when it was removed, or stopped on purpose. */
  revive(org: string, id: string, signal: AbortSignal): Promise<MachineState | undefined>;
  /** Marks a machine as a live release's: from now on the host starts it again when its process ends. Nothing happens when it is gone. */
  keepRunning(org: string, id: string, signal: AbortSignal): Promise<void>;
  inspect(org: string, id: string, signal: AbortSignal): Promise<MachineState | undefined>;
  list(filter: { org?: string; labels?: Readonly<Record<string, string>> }, signal: AbortSignal): Promise<MachineState[]>;
  /** Stops the process and keeps the container, its snapshot and its address plan: `start` brings it back. */
  stop(org: string, id: string, options: StopOptions, signal: AbortSignal): Promise<void>;
  pause(org: string, id: string, signal: AbortSignal): Promise<void>;
  resume(org: string, id: string, signal: AbortSignal): Promise<void>;
  /** Everything of the machine goes: process, address, container, snapshot, whichever of them there are. Its log stays. */
  remove(org: string, id: string, options: StopOptions, signal: AbortSignal): Promise<void>;
  /** Removes what starts that were killed left without a container; answers of which machines, as `org/id`. */
  removeLeftovers(signal: AbortSignal): Promise<readonly string[]>;
}

/** The builder is the one machine of an org that is no app's. */
export const builderMachineId = "builder";

export const machineLabels = {
  app: "slipway.app",
  group: "slipway.group",
  ordinal: "slipway.ordinal",
  version: "slipway.version",
  digest: "slipway.digest",
  role: "slipway.role",
  /** on the machines of a release that was accepted, set when it was */
  live: "slipway.live",
} as const;
