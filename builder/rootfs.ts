import { type BuildkitdAllowance, buildkitdConfig } from "./buildkitd-config.ts";

/** One entry of the builder's root filesystem; times and owner are fixed, so that the same inputs give the same layer. */
export type RootfsEntry =
  | { readonly type: "directory"; readonly path: string; readonly mode: number }
  | { readonly type: "text"; readonly path: string; readonly mode: number; readonly text: string }
  | { readonly type: "file"; readonly path: string; readonly mode: number; readonly source: string }
  | { readonly type: "link"; readonly path: string; readonly target: string };

export type RootfsInput = {
  readonly buildkitd: string;
  readonly runc: string;
  /** statically linked */
  readonly busybox: string;
  /** PEM text that buildkitd trusts */
  readonly caBundle: string;
  /** build steps are shown the CA bundle as well, whatever image they run on */
  readonly caForSteps: boolean;
  readonly imageHost: string;
  /** `host:port` */
  readonly mirror: string;
  readonly maxParallelism: number;
  /** what the cache may hold */
  readonly cacheBytes?: number;
  readonly allowance?: BuildkitdAllowance;
};

export const socketInBuilder = "/run/buildkit/buildkitd.sock";
const caInBuilder = "/etc/ssl/certs/ca-certificates.crt";
const applets = ["sh", "sed", "cat", "ls", "ps", "mount", "umount", "df", "du", "nslookup", "wget"];

/** Everything in the builder's image, parents before children. */
export function builderRootfs(input: RootfsInput): readonly RootfsEntry[] {
  const config = buildkitdConfig({
    imageHost: input.imageHost,
    mirror: input.mirror,
    socket: socketInBuilder,
    maxParallelism: input.maxParallelism,
    ...(input.cacheBytes === undefined ? {} : { cacheBytes: input.cacheBytes }),
    ...input.allowance,
  });
  return [
    ...directories,
    { type: "text", path: "etc/buildkit/buildkitd.toml", mode: 0o644, text: config },
    { type: "text", path: "etc/group", mode: 0o644, text: "root:x:0:\nnogroup:x:65534:\n" },
    { type: "text", path: "etc/nsswitch.conf", mode: 0o644, text: "hosts: files dns\n" },
    { type: "text", path: "etc/passwd", mode: 0o644, text: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n" },
    { type: "text", path: caInBuilder.slice(1), mode: 0o644, text: input.caBundle },
    { type: "file", path: "bin/busybox", mode: 0o755, source: input.busybox },
    ...applets.map((name) => ({ type: "link" as const, path: `bin/${name}`, target: "busybox" })),
    { type: "file", path: "usr/bin/buildkitd", mode: 0o755, source: input.buildkitd },
    { type: "file", path: "usr/bin/runc", mode: 0o755, source: input.runc },
    // buildkitd looks for this name first
    input.caForSteps
      ? { type: "text", path: "usr/bin/buildkit-runc", mode: 0o755, text: runcWithCa }
      : { type: "link", path: "usr/bin/buildkit-runc", target: "runc" },
  ];
}

const directories: readonly RootfsEntry[] = [
  "bin dev etc etc/buildkit etc/ssl etc/ssl/certs proc root run sys usr usr/bin var var/lib var/lib/buildkit"
    .split(" ")
    .map((path): RootfsEntry => ({ type: "directory", path, mode: 0o755 })),
  { type: "directory" as const, path: "tmp", mode: 0o1777 },
].flat();

/** What a build step's programs read the CA bundle from; an image or a Dockerfile that sets one of them itself wins. */
const caVariables = [
  "SSL_CERT_FILE",
  "NODE_EXTRA_CA_CERTS",
  "CURL_CA_BUNDLE",
  "REQUESTS_CA_BUNDLE",
  "PIP_CERT",
  "GIT_SSL_CAINFO",
  "CARGO_HTTP_CAINFO",
];
const caInStep = "/dev/slipway-ca.crt";

/**
 * buildkitd's OCI runtime, for networks with a re-signing proxy: runc, with the CA bundle bind-mounted into each step. BuildKit 0.34
 * has no setting for this. The mount point lies on the step's own /dev, a tmpfs, so that nothing of it gets into the image, and the
 * variables are no part of the step's cache key. The spec is one line of JSON in which a quote inside a string is escaped, so
 * `"env":[` and the mount of /dev/pts can only be the real ones.
 */
const runcWithCa = `#!/bin/sh
previous=
for argument do
  if [ "$previous" = --bundle ]; then
    sed -i \\
      -e 's|"env":\\[|"env":[${caVariables.map((name) => `"${name}=${caInStep}"`).join(",")},|' \\
      -e 's|{"destination":"/dev/pts",|{"destination":"${caInStep}","type":"bind","source":"${caInBuilder}","options":["bind","ro"]},&|' \\
      "$argument/config.json"
  fi
  previous=$argument
done
exec /usr/bin/runc "$@"
`;
