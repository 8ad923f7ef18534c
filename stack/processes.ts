import path from "node:path";
import type { ProcessName } from "../config/ready.ts";
import { readyFile } from "../config/ready.ts";
import type { Settings } from "../config/settings.ts";
import { type ContainerdOptions, containerdDaemon, s3Server, temporalServer } from "./engines.ts";
import type { ProcessSpec } from "./process-spec.ts";
import { compiledDir } from "../tools/cache.ts";

export type StackContext = {
  readonly settingsFile: string;
  /** the command that runs a module of ours */
  readonly entryPoint: (module: string) => readonly [string, ...string[]];
};

/** The processes of one host, as data. What the settings place elsewhere is not among them. */
export function stackProcesses(settings: Settings, context: StackContext): ProcessSpec[] {
  return [...engineProcesses(settings), ...ownProcesses(settings, context)];
}

function engineProcesses(settings: Settings): ProcessSpec[] {
  const { binDir } = settings.tools;
  const specs: ProcessSpec[] = [];
  if (settings.s3.embeddedDir !== undefined) {
    const { region, accessKeyId, secretAccessKey, embeddedDir } = settings.s3;
    specs.push(s3Server({ binDir, dir: embeddedDir, port: portOf(settings.s3.endpoint), region, accessKeyId, secretAccessKey }));
  }
  if (settings.temporal.databaseFile !== undefined) {
    const { address, uiUrl, databaseFile, namespace } = settings.temporal;
    specs.push(temporalServer({ binDir, databaseFile, port: portOf(`http://${address}`), uiPort: portOf(uiUrl), namespace }));
  }
  if (settings.containerd.managed) specs.push(containerdDaemon(containerdOptions(settings)));
  return specs;
}

export function containerdOptions(settings: Settings): ContainerdOptions {
  return {
    binDir: settings.tools.binDir,
    root: path.join(settings.dataDir, "containerd"),
    state: path.join(settings.runDir, "containerd"),
    socket: settings.containerd.socket,
    configFile: path.join(settings.dataDir, "containerd.toml"),
  };
}

const ownModules = {
  registry: { module: "registry/main", after: ["s3"] },
  mirror: { module: "mirror/main", after: ["containerd"] },
  router: { module: "machines/router/main", after: [] },
  resolver: { module: "machines/resolver/main", after: [] },
  control: { module: "workers/control", after: ["temporal"] },
  host: { module: "workers/host", after: ["temporal", "containerd"] },
} as const satisfies Partial<Record<ProcessName, { module: string; after: ProcessName[] }>>;

function ownProcesses(settings: Settings, context: StackContext): ProcessSpec[] {
  const engines = new Set<ProcessName>(engineProcesses(settings).map(({ name }) => name));
  return Object.entries(ownModules).map(([key, { module, after }]) => {
    const name = key as keyof typeof ownModules;
    return {
      name,
      argv: context.entryPoint(module),
      env: {
        SLIPWAY_SETTINGS: context.settingsFile,
        NODE_COMPILE_CACHE: compiledDir(),
        PATH: `${settings.tools.binDir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      },
      after: after.filter((engine) => engines.has(engine)),
      ready: [{ kind: "file", file: readyFile(settings.runDir, name) }],
      stopTimeoutMs: 8_000,
    };
  });
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}
