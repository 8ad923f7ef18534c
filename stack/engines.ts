import path from "node:path";
import { stringify } from "smol-toml";
import { searchAttributeNames } from "../workflows/ids.ts";
import type { ProcessSpec } from "./process-spec.ts";

const loopback = "127.0.0.1";

export type S3ServerOptions = {
  readonly binDir: string;
  /** its sub-folders are the buckets */
  readonly dir: string;
  readonly port: number;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
};

/** versitygw over a folder; its keys go through the environment, as every user of the host can read arguments. */
export function s3Server(options: S3ServerOptions): ProcessSpec {
  return {
    name: "s3",
    argv: [
      path.join(options.binDir, "versitygw"),
      `--port=${loopback}:${options.port}`,
      `--region=${options.region}`,
      "--quiet",
      "--keep-alive",
      "posix",
      options.dir,
    ],
    env: { ROOT_ACCESS_KEY: options.accessKeyId, ROOT_SECRET_KEY: options.secretAccessKey },
    after: [],
    ready: [{ kind: "tcp", host: loopback, port: options.port }],
    stopTimeoutMs: 5_000,
  };
}

export type TemporalServerOptions = {
  readonly binDir: string;
  /** SQLite; without it everything is gone when the server ends */
  readonly databaseFile?: string;
  readonly port: number;
  /** without it there is no UI */
  readonly uiPort?: number;
  readonly namespace: string;
};

/** Temporal's development server, with our search attributes. One partition per task queue: one machine needs no more, and polls find tasks at once. */
export function temporalServer(options: TemporalServerOptions): ProcessSpec {
  const { databaseFile, uiPort, namespace } = options;
  const partitions = ["matching.numTaskqueueReadPartitions=1", "matching.numTaskqueueWritePartitions=1"];
  return {
    name: "temporal",
    argv: [
      path.join(options.binDir, "temporal"),
      "server",
      "start-dev",
      `--ip=${loopback}`,
      `--port=${options.port}`,
      ...(uiPort === undefined ? ["--headless"] : [`--ui-port=${uiPort}`, "--ui-disable-news-fetch"]),
      ...(databaseFile === undefined ? [] : [`--db-filename=${databaseFile}`]),
      ...(namespace === "default" ? [] : [`--namespace=${namespace}`]),
      ...Object.values(searchAttributeNames).map((name) => `--search-attribute=${name}=Keyword`),
      ...partitions.map((value) => `--dynamic-config-value=${value}`),
      "--log-format=json",
      "--log-level=warn",
      "--disable-config-file",
      "--disable-config-env",
    ],
    env: {},
    after: [],
    ready: [{ kind: "tcp", host: loopback, port: options.port }],
    stopTimeoutMs: 10_000,
  };
}

export type ContainerdOptions = {
  readonly binDir: string;
  /** content, snapshots and metadata */
  readonly root: string;
  /** sockets and task bundles; short, as a unix socket's path holds 107 bytes */
  readonly state: string;
  readonly socket: string;
  readonly configFile: string;
};

/** containerd of our own; `containerdConfig` is its file. Shims outlive it: they run in sessions of their own. */
export function containerdDaemon(options: ContainerdOptions): ProcessSpec {
  return {
    name: "containerd",
    argv: [path.join(options.binDir, "containerd"), "--config", options.configFile],
    env: { PATH: `${options.binDir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin` },
    after: [],
    ready: [{ kind: "unix", socket: options.socket }],
    stopTimeoutMs: 10_000,
  };
}

/** Plugins that Slipway has no use for, or that would claim a path shared with another containerd of the host. */
const disabledPlugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.cri.v1.runtime",
  "io.containerd.cri.v1.images",
  "io.containerd.internal.v1.restart",
  "io.containerd.nri.v1.nri",
];

export function containerdConfig(options: ContainerdOptions): string {
  return stringify({
    version: 3,
    root: options.root,
    state: options.state,
    disabled_plugins: disabledPlugins,
    grpc: { address: options.socket },
    ttrpc: { address: `${options.socket}.ttrpc` },
    plugins: {
      "io.containerd.metadata.v1.bolt": { content_sharing_policy: "isolated" },
      "io.containerd.internal.v1.opt": { path: path.join(options.root, "opt") },
    },
  });
}
