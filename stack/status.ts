import { instancePaths } from "../config/paths.ts";
import type { ProcessName } from "../config/ready.ts";
import type { Settings } from "../config/settings.ts";
import { runningProcess } from "./child-process.ts";
import { entryPoint } from "./entry-point.ts";
import { stackFiles } from "./files.ts";
import { isReady } from "./probe.ts";
import type { ProcessSpec } from "./process-spec.ts";
import { stackProcesses } from "./processes.ts";
import { readSupervisorState } from "./supervisor-state.ts";

export type ProcessStatus = {
  readonly name: ProcessName;
  readonly pid?: number;
  readonly ready: boolean;
  readonly startedAtMs?: number;
  /** since the stack was set up, and how the last one ended */
  readonly restarts: number;
  readonly failures: number;
  readonly lastEnd?: string;
  readonly logFile: string;
};

export type StackStatus = { readonly supervisorPid?: number; readonly processes: readonly ProcessStatus[]; readonly ready: boolean };

/** What runs of an instance, seen from outside: by pid files, by what answers, and by what the supervisor noted. */
export async function stackStatus(settings: Settings): Promise<StackStatus> {
  const supervisor = runningProcess(stackFiles.process(settings, "supervisor").pidFile);
  const noted = readSupervisorState(settings)?.processes ?? {};
  const processes = await Promise.all(specsOf(settings).map(async (spec) => await processStatus(settings, spec, noted[spec.name])));
  return {
    ...(supervisor === undefined ? {} : { supervisorPid: supervisor.pid }),
    processes,
    ready: supervisor !== undefined && processes.every(({ ready }) => ready),
  };
}

type Noted = { startedAtMs: number; restarts: number; failures: number; lastEnd?: string | undefined };

async function processStatus(settings: Settings, spec: ProcessSpec, noted: Noted | undefined): Promise<ProcessStatus> {
  const { pidFile, logFile } = stackFiles.process(settings, spec.name);
  const identity = runningProcess(pidFile);
  return {
    name: spec.name,
    ...(identity === undefined ? {} : { pid: identity.pid }),
    ready: identity !== undefined && (await isReady(spec.ready, identity.pid)),
    ...(noted === undefined ? {} : { startedAtMs: noted.startedAtMs }),
    restarts: noted?.restarts ?? 0,
    failures: noted?.failures ?? 0,
    ...(noted?.lastEnd === undefined ? {} : { lastEnd: noted.lastEnd }),
    logFile,
  };
}

export function specsOf(settings: Settings): ProcessSpec[] {
  return stackProcesses(settings, { settingsFile: instancePaths.settings(settings.dataDir), entryPoint });
}
