import { createHash } from "node:crypto";
import path from "node:path";
import type { Settings } from "../config/settings.ts";

export type StackPorts = {
  readonly temporal: number;
  readonly temporalUi: number;
  readonly registry: number;
  readonly metrics: number;
  readonly s3: number;
  readonly logs: number;
  readonly router: number;
  readonly builderGate: number;
};

/** Where each is looked for first; the next free one is taken when another program has it. */
export const preferredPorts: StackPorts = {
  temporal: 7233,
  temporalUi: 8233,
  registry: 5001,
  s3: 7480,
  logs: 5002,
  metrics: 5003,
  router: 8080,
  builderGate: 5004,
};

export type NewInstance = {
  readonly dataDir: string;
  readonly runDir: string;
  readonly hostId: string;
  readonly tools: Settings["tools"];
  readonly ports: StackPorts;
  readonly s3Keys: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly ipv4Pool: string;
  /** socket of a containerd that the operator runs; without it Slipway runs its own */
  readonly containerdSocket?: string;
  readonly caBundle?: string;
};

/** The settings of an instance that has none yet. */
export function defaultSettings(instance: NewInstance): Settings {
  const { dataDir, runDir, ports } = instance;
  const id = instanceId(dataDir);
  return {
    instance: id,
    dataDir,
    runDir,
    hostId: instance.hostId,
    defaultOrg: "default",
    tools: instance.tools,
    temporal: {
      address: `127.0.0.1:${ports.temporal}`,
      namespace: "default",
      uiUrl: `http://127.0.0.1:${ports.temporalUi}`,
      databaseFile: path.join(dataDir, "temporal.db"),
    },
    s3: {
      endpoint: `http://127.0.0.1:${ports.s3}`,
      region: "us-east-1",
      bucket: "slipway",
      ...instance.s3Keys,
      forcePathStyle: true,
      embeddedDir: path.join(dataDir, "s3"),
    },
    registry: {
      url: `http://127.0.0.1:${ports.registry}`,
      listen: { host: "127.0.0.1", port: ports.registry },
      imageHost: "registry.slipway.internal:5000",
      metrics: { host: "127.0.0.1", port: ports.metrics },
    },
    containerd: {
      socket: instance.containerdSocket ?? path.join(runDir, "containerd.sock"),
      managed: instance.containerdSocket === undefined,
      snapshotter: "overlayfs",
    },
    mirror: { port: 5000, adminSocket: path.join(runDir, "mirror.sock"), publicFallback: true },
    network: { ipv4Pool: instance.ipv4Pool, ipv6Pool: ipv6PoolOf(id) },
    router: { adminSocket: path.join(runDir, "router.sock"), listenHost: "127.0.0.1", firstPort: ports.router },
    logs: { listen: { host: "127.0.0.1", port: ports.logs } },
    builder: { idleTimeoutMs: 60_000, memoryMb: 4096, cpus: 2, gate: { listen: { host: "127.0.0.1", port: ports.builderGate } } },
    ...(instance.caBundle === undefined ? {} : { caBundle: instance.caBundle }),
  };
}

/** The same data folder is the same instance, on every start. */
export function instanceId(dataDir: string): string {
  return createHash("sha256").update(dataDir).digest("hex").slice(0, 8);
}

/** The /16 networks of 10.64.0.0/10, the instance's own first. */
export function ipv4Pools(instance: string): string[] {
  const start = Number.parseInt(instance.slice(0, 2), 16) % 64;
  return Array.from({ length: 64 }, (_, index) => `10.${64 + ((start + index) % 64)}.0.0/16`);
}

/** A unique local /48 with the instance's 40 bits as global id (RFC 4193). */
export function ipv6PoolOf(instance: string): string {
  const bits = createHash("sha256").update(instance).digest("hex");
  return `fd${bits.slice(0, 2)}:${bits.slice(2, 6)}:${bits.slice(6, 10)}::/48`;
}
