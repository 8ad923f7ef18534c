import type { Entitlement } from "../config/entitlements.ts";

/** What buildkitd's configuration depends on. */
export type BuildkitdConfigInput = {
  /** host part of the image names that builds push; leads to the mirror inside the org's network */
  readonly imageHost: string;
  /** `host:port` of the mirror */
  readonly mirror: string;
  readonly socket: string;
  /** build steps that may run side by side */
  readonly maxParallelism: number;
  /** what the cache may hold; absent: 20 GiB */
  readonly cacheBytes?: number;
} & BuildkitdAllowance;

/** What of BuildKit is off unless the operator allows it. */
export type BuildkitdAllowance = {
  /** repositories of frontends that may be pulled and run */
  readonly frontends?: readonly string[] | undefined;
  /** what builds may ask for */
  readonly entitlements?: readonly Entitlement[] | undefined;
};

/** Registries whose images the mirror answers for, or fetches, before buildkitd asks them itself. */
export const mirroredRegistries = ["docker.io", "ghcr.io", "quay.io", "gcr.io", "public.ecr.aws", "mcr.microsoft.com", "registry.k8s.io"];

/**
 * buildkitd.toml. It listens on a unix socket only: build steps share its network, and so do the org's machines, and none of them may
 * reach its API. No frontend but the built-in one and no entitlements, unless allowed; no history: the run's log is ours.
 */
export function buildkitdConfig(input: BuildkitdConfigInput): string {
  const { imageHost, mirror, socket, maxParallelism, cacheBytes, frontends, entitlements = [] } = input;
  const lines = [
    `root = "/var/lib/buildkit"`,
    `insecure-entitlements = [${entitlements.map(quote).join(", ")}]`,
    `[log]`,
    `  format = "json"`,
    `[grpc]`,
    `  address = [${quote(`unix://${socket}`)}]`,
    `[cdi]`,
    `  disabled = true`,
    `[history]`,
    `  maxEntries = 0`,
    `[worker.oci]`,
    `  enabled = true`,
    `  snapshotter = "overlayfs"`,
    `  networkMode = "host"`,
    `  max-parallelism = ${maxParallelism}`,
    `  gc = true`,
    // its GB are GiB; a number is bytes
    `  reservedSpace = ${quote(cacheBytes === undefined ? "2GB" : String(Math.round(cacheBytes / 10)))}`,
    `  maxUsedSpace = ${quote(cacheBytes === undefined ? "20GB" : String(cacheBytes))}`,
    `  minFreeSpace = "10%"`,
    `[worker.containerd]`,
    `  enabled = false`,
    `[frontend."gateway.v0"]`,
    `  enabled = ${frontends !== undefined}`,
    // an empty list would be all of them
    ...(frontends === undefined ? [] : [`  allowedRepositories = [${frontends.map(quote).join(", ")}]`]),
    ...mirroredRegistries.flatMap((host) => [`[registry.${quote(host)}]`, `  mirrors = [${quote(mirror)}]`]),
    ...[...new Set([mirror, imageHost])].flatMap((host) => [`[registry.${quote(host)}]`, `  http = true`]),
  ];
  return `${lines.join("\n")}\n`;
}

/** A TOML basic string escapes what JSON does. */
const quote = (text: string): string => JSON.stringify(text);
