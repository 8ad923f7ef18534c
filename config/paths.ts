import path from "node:path";
import type { Settings } from "./settings.ts";

/** One place for every file of an instance. `dataDir` survives a reboot, `runDir` need not. */
export const instancePaths = {
  settings: (dataDir: string) => path.join(dataDir, "settings.json"),
  orgDir: (s: Settings, org: string) => path.join(s.dataDir, "orgs", org),
  /** where the builder's API appears on the host; its folder is bind-mounted into the machine */
  builderSocket: (s: Settings, org: string) => path.join(s.runDir, "builders", org, "buildkitd.sock"),
  builderCache: (s: Settings, org: string) => path.join(s.dataDir, "orgs", org, "builder"),
  networks: (s: Settings) => path.join(s.dataDir, "networks.json"),
  cniState: (s: Settings) => path.join(s.dataDir, "cni"),
  /** where uploads to upstream stand that are not finished */
  replicationState: (s: Settings) => path.join(s.dataDir, "replication"),
  /** what is sealed for this host is opened with it */
  hostKey: (s: Settings) => path.join(s.dataDir, "sealing", "host-key.pem"),
  hostPublicKey: (s: Settings) => path.join(s.dataDir, "sealing", "host-key.pub.pem"),
  mirrorState: (s: Settings) => path.join(s.dataDir, "mirror"),
  /** the mirror's own CA */
  mirrorTls: (s: Settings) => path.join(s.dataDir, "mirror", "tls"),
  mirrorCa: (s: Settings) => path.join(s.dataDir, "mirror", "tls", "ca.pem"),
  /** a network namespace that outlives its machine's processes is mounted here */
  machineNetwork: (s: Settings, org: string, machineId: string) => path.join(s.runDir, "networks", org, machineId),
  machineNetworks: (s: Settings) => path.join(s.runDir, "networks"),
  routes: (s: Settings) => path.join(s.dataDir, "routes.json"),
  /** machine ids are unique within an org only: every org has a `builder` */
  machineDir: (s: Settings, org: string, machineId: string) => path.join(s.dataDir, "machines", org, machineId),
  machineLog: (s: Settings, org: string, machineId: string) => path.join(s.dataDir, "logs", "machines", org, `${machineId}.log`),
  /** ip_forward and friends as they were before this instance, for `down` */
  savedSysctls: (s: Settings) => path.join(s.dataDir, "sysctls.json"),
  /** `runDigest` is a hash of the workflow id: ids hold slashes */
  buildLog: (s: Settings, runDigest: string) => path.join(s.dataDir, "logs", "builds", `${runDigest}.jsonl`),
  processLog: (s: Settings, name: string) => path.join(s.dataDir, "logs", "processes", `${name}.log`),
} as const;

/** The containerd namespace of an org: with content_sharing_policy = "isolated" the border between tenants (design, invariant 9). */
export function orgNamespace(org: string): string {
  return `slipway-${org}`;
}

/** The task queue of the activities that touch one host's containerd. */
export function hostTaskQueue(hostId: string): string {
  return `host:${hostId}`;
}

export const controlTaskQueue = "control";
