import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { buildkitdConfig, mirroredRegistries } from "../../../builder/buildkitd-config.ts";

const toml = buildkitdConfig({
  imageHost: "registry.example:5000",
  mirror: "_api.internal:5000",
  socket: "/run/buildkit/buildkitd.sock",
  maxParallelism: 4,
});
const config = parse(toml) as {
  grpc: { address: string[] };
  frontend: Record<string, { enabled: boolean }>;
  registry: Record<string, { http?: boolean; mirrors?: string[] }>;
  worker: Record<string, Record<string, unknown>>;
  "insecure-entitlements": string[];
};

describe("buildkitd.toml", () => {
  it("opens the API on a unix socket and on no network address", () => {
    expect(config.grpc.address).toEqual(["unix:///run/buildkit/buildkitd.sock"]);
    expect(toml).not.toContain("tcp://");
  });

  it("sends every public registry to the mirror first", () => {
    for (const host of mirroredRegistries) expect(config.registry[host]?.mirrors).toEqual(["_api.internal:5000"]);
  });

  it("speaks plain HTTP to the mirror, by both of its names, and to nobody else", () => {
    const plain = Object.entries(config.registry).filter(([, registry]) => registry.http === true);
    expect(plain.map(([host]) => host).toSorted()).toEqual(["_api.internal:5000", "registry.example:5000"]);
  });

  it("runs no foreign frontend and grants no entitlement", () => {
    expect(config.frontend["gateway.v0"]).toEqual({ enabled: false });
    expect(config["insecure-entitlements"]).toEqual([]);
  });

  it("runs the frontends and grants the entitlements that the operator allows, and no others", () => {
    const frontends = ["docker.io/docker/dockerfile"];
    const allowing = parse(
      buildkitdConfig({ imageHost: "m", mirror: "m", socket: "/s", maxParallelism: 1, frontends, entitlements: ["security.insecure"] }),
    );
    expect(allowing).toMatchObject({
      frontend: { "gateway.v0": { enabled: true, allowedRepositories: frontends } },
      "insecure-entitlements": ["security.insecure"],
    });
  });

  it("uses its own runc worker, with a bound to what the cache may hold", () => {
    expect(config.worker.containerd).toEqual({ enabled: false });
    expect(config.worker.oci).toMatchObject({
      enabled: true,
      snapshotter: "overlayfs",
      "max-parallelism": 4,
      gc: true,
      maxUsedSpace: "20GB",
    });
  });

  it("names a registry once when it is the mirror itself", () => {
    const same = buildkitdConfig({ imageHost: "m:5000", mirror: "m:5000", socket: "/s", maxParallelism: 1 });
    expect(same.match(/\[registry\."m:5000"\]/g)).toHaveLength(1);
    expect(() => parse(same)).not.toThrow();
  });
});
