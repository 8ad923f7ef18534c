import { readFile } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../../config/paths.ts";
import { startTicksOf } from "../../config/process-identity.ts";
import type { Settings } from "../../config/settings.ts";
import { runProgram } from "../../machines/run-program.ts";
import { builderMachineId, type MachineState, type Machines } from "../../machines/types.ts";
import { openBuildkit } from "../buildkit/client.ts";
import type { Builders } from "../builders.ts";
import { findCacheVolume } from "../cache-volume.ts";
import { cacheUsage } from "../cache-usage.ts";
import { idleStep } from "../idle-policy.ts";
import { builderAddress } from "../names.ts";

/** The org's builder for people; what is not known is absent. It wakes nothing. */
export type BuilderView = {
  readonly org: string;
  readonly host: string;
  readonly state: "running" | "suspended" | "stopped" | "absent";
  /** since when it is in this state */
  readonly sinceMs?: number;
  /** builds and connections that keep it awake */
  readonly uses: number;
  readonly version?: string;
  readonly cache: {
    readonly sizeBytes?: number;
    readonly inUseBytes?: number;
    readonly records?: number;
    /** above it, BuildKit's garbage collection takes what was not used for longest */
    readonly maxBytes?: number;
  };
  readonly limits: {
    readonly memoryMb: number;
    readonly cpus: number;
    /** absent: what the host's disk has */
    readonly diskBytes?: number;
    /** absent: it stays awake */
    readonly idleTimeoutMs?: number;
  };
  /** absent: it has no cache yet */
  readonly userNamespace?: boolean;
  /** why a running one does not answer */
  readonly problem?: string;
};

export type ViewDeps = {
  readonly builders: Pick<Builders, "status">;
  readonly machines: Pick<Machines, "inspect">;
  readonly settings: Settings;
};

type OfDaemon = Pick<BuilderView, "version" | "cache" | "problem">;

const answerTimeoutMs = 5_000;
/** a cold cache of many files on a busy disk: rather no size than a status that hangs */
const walkTimeoutMs = 10_000;
const stateNames = { created: "stopped", running: "running", paused: "suspended", stopped: "stopped" } as const;

export async function viewBuilder({ builders, machines, settings }: ViewDeps, org: string, signal: AbortSignal): Promise<BuilderView> {
  const [found, { uses }, volume] = await Promise.all([
    machines.inspect(org, builderMachineId, signal),
    builders.status(org, signal),
    findCacheVolume(settings, org),
  ]);
  const state = found === undefined ? "absent" : stateNames[found.state];
  const since = found === undefined ? undefined : await sinceOf(found);
  const { memoryMb, cpus } = settings.builder;
  const idle = idleStep(settings.builder, "awake");
  return {
    org,
    host: settings.hostId,
    state,
    ...(since === undefined ? {} : { sinceMs: since }),
    uses,
    ...(volume === undefined ? {} : { userNamespace: volume.userNamespace }),
    ...(state === "running" ? await askDaemon(builderAddress(settings, org), signal) : await lookAtRest(settings, org, signal)),
    limits: {
      memoryMb,
      cpus,
      ...(volume?.sizeBytes === undefined ? {} : { diskBytes: volume.sizeBytes }),
      ...(idle === undefined ? {} : { idleTimeoutMs: idle.afterMs }),
    },
  };
}

async function askDaemon(address: string, signal: AbortSignal): Promise<OfDaemon> {
  using buildkit = openBuildkit(address);
  const timely = { signal: AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]) };
  try {
    const [info, workers, usage] = await Promise.all([
      buildkit.control.info({}, timely),
      buildkit.control.listWorkers({}, timely),
      cacheUsage(buildkit, timely.signal),
    ]);
    const version = info.buildkitVersion?.version;
    // the last policy is the one for everything
    const maxBytes = Number(workers.record[0]?.GCPolicy.at(-1)?.maxUsedSpace ?? 0n);
    return { ...(version === undefined ? {} : { version }), cache: { ...usage, ...(maxBytes === 0 ? {} : { maxBytes }) } };
  } catch (error) {
    signal.throwIfAborted();
    return { cache: {}, problem: `it does not answer within ${answerTimeoutMs / 1000} s: ${(error as Error).message}` };
  }
}

/** What the volume holds, and what would run. */
async function lookAtRest(settings: Settings, org: string, signal: AbortSignal): Promise<OfDaemon> {
  const [walked, said] = await Promise.all([
    tryProgram("du", ["--summarize", "--one-file-system", "--block-size=1", instancePaths.builderCache(settings, org)], signal),
    tryProgram(path.join(settings.tools.binDir, "buildkitd"), ["--version"], signal),
  ]);
  const sizeBytes = Number.parseInt(walked ?? "", 10);
  // buildkitd github.com/moby/buildkit v0.31.2 <revision>
  const version = said?.split(/\s+/)[2];
  return { ...(version === undefined ? {} : { version }), cache: Number.isNaN(sizeBytes) ? {} : { sizeBytes } };
}

async function tryProgram(program: string, args: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  try {
    return await runProgram(program, args, { signal: AbortSignal.any([signal, AbortSignal.timeout(walkTimeoutMs)]) });
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

async function sinceOf({ state, pid, exit }: MachineState): Promise<number | undefined> {
  if (state === "stopped") return exit?.atMs;
  return state === "running" && pid !== undefined ? await processStartMs(pid) : undefined;
}

/** Ticks of /proc are hundredths of a second on every Linux that we run on. */
async function processStartMs(pid: number): Promise<number | undefined> {
  try {
    const [stat, uptime] = await Promise.all([readFile(`/proc/${pid}/stat`, "utf8"), readFile("/proc/uptime", "utf8")]);
    const ticks = startTicksOf(stat);
    return ticks === undefined ? undefined : Math.round(Date.now() - Number.parseFloat(uptime) * 1000 + Number(ticks) * 10);
  } catch {
    return undefined;
  }
}
