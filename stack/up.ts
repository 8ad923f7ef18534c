import { mkdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import { lockFile } from "../config/file-lock.ts";
import { instancePaths } from "../config/paths.ts";
import { isRunning } from "../config/process-identity.ts";
import type { Settings } from "../config/settings.ts";
import { installTools } from "../tools/install.ts";
import type { ToolGroup } from "../tools/recipes.ts";
import { logTail, runningProcess, sendSignal } from "./child-process.ts";
import { containerdConfig } from "./engines.ts";
import { entryPoint } from "./entry-point.ts";
import { stackEnvironment } from "./environment.ts";
import { requireUsableContainerd } from "./existing-containerd.ts";
import { stackFiles } from "./files.ts";
import { containerdOptions } from "./processes.ts";
import { revisionsOf } from "./revision.ts";
import { requireShortSockets } from "./socket-paths.ts";
import { StackError } from "./stack-error.ts";
import { dataDirOf, resolveSettings, type SettingsOptions } from "./settings.ts";
import { specsOf, stackStatus } from "./status.ts";
import { planFingerprint } from "./supervisor.ts";
import { readSupervisorState } from "./supervisor-state.ts";
import { closedFolders } from "./traversable.ts";
import { writeFileAtomic } from "../config/write-file-atomic.ts";

export type UpOptions = SettingsOptions & { readonly toolGroups?: readonly ToolGroup[] };

/** After so many ends in a row before it ever served, `up` gives up waiting for a process; the supervisor does not. */
const maxFailures = 5;
const readyTimeoutMs = 90_000;

/**
 * Brings the instance up and waits until every process serves. May be repeated: what runs as it should is left alone.
 * @param progress one line at a time
 * @throws StackError naming the process that does not come up, with the last lines of its log
 */
export async function up(
  options: UpOptions,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<{ settings: Settings; changed: boolean }> {
  requireRoot("up");
  const tools = await installTools({ groups: options.toolGroups ?? [], progress, signal });
  const dataDir = dataDirOf(options);
  await using _lock = await lockFile(
    stackFiles.lock(dataDir),
    (holder) => progress(`waiting for process ${holder.pid}, which changes the stack`),
    signal,
  );
  const { settings, changed } = await resolveSettings(options, tools, process.env, async (found) => {
    requireShortSockets(found);
    await requireUsableContainerd(found, signal);
    // its client is loaded only where Temporal is not our own
    if (found.temporal.databaseFile === undefined)
      await (await import("./temporal/existing-temporal.ts")).requireUsableTemporal(found, progress, signal);
  });
  const prepared = await prepareFiles(settings);
  const started = await ensureSupervisor(settings, progress, signal);
  const wasReady = (await stackStatus(settings)).ready;
  if (!wasReady) await untilStackReady(settings, progress, signal);
  return { settings, changed: changed || prepared || started || !wasReady };
}

export function requireRoot(command: string): void {
  if (process.getuid?.() !== 0) throw new StackError(`Cannot manage containers as this user; run: sudo slipway ${command}`);
}

async function prepareFiles(settings: Settings): Promise<boolean> {
  await mkdir(settings.runDir, { recursive: true, mode: 0o711 });
  requireTraversable(settings);
  await mkdir(path.join(settings.dataDir, "logs", "processes"), { recursive: true });
  if (settings.s3.embeddedDir !== undefined) await mkdir(settings.s3.embeddedDir, { recursive: true, mode: 0o700 });
  if (!settings.containerd.managed) return false;
  const options = containerdOptions(settings);
  const config = containerdConfig(options);
  if ((await readFile(options.configFile, "utf8").catch(() => "")) === config) return false;
  await writeFileAtomic(options.configFile, config);
  return true;
}

function requireTraversable({ dataDir, runDir }: Settings): void {
  const closed = [...new Set([dataDir, runDir].flatMap(closedFolders))];
  if (closed.length === 0) return;
  const list = closed.map((folder) => `"${folder}"`).join(", ");
  throw new StackError(
    `Cannot run machines from "${dataDir}" and "${runDir}": other users cannot pass through ${list}; run: chmod o+x ${closed.join(" ")}`,
  );
}

/** One supervisor with today's plan: another one is asked to leave its processes to the next. */
async function ensureSupervisor(settings: Settings, progress: (line: string) => void, signal: AbortSignal): Promise<boolean> {
  const wanted = planFingerprint(specsOf(settings), revisionsOf(settings));
  const { pidFile } = stackFiles.process(settings, "supervisor");
  const running = runningProcess(pidFile);
  if (running !== undefined && readSupervisorState(settings)?.plan === wanted) return false;
  if (running !== undefined) await leaveSupervisor(settings);
  progress("starting the stack");
  const child = spawnSupervisor(settings);
  const { logFile } = stackFiles.process(settings, "supervisor");
  while (runningProcess(pidFile)?.pid !== child.pid) {
    signal.throwIfAborted();
    if (child.exitCode !== null) throw new StackError(`Cannot start the supervisor: exit code ${child.exitCode}\n${logTail(logFile)}`);
    await sleep(20, undefined, { signal });
  }
  return true;
}

function spawnSupervisor(settings: Settings) {
  const log = openSync(stackFiles.process(settings, "supervisor").logFile, "a", 0o600);
  try {
    const [command, ...args] = entryPoint("stack/supervisor-main");
    const child = spawn(command, args, {
      detached: true,
      cwd: "/",
      stdio: ["ignore", log, log],
      env: { ...stackEnvironment(process.env), SLIPWAY_SETTINGS: instancePaths.settings(settings.dataDir) },
    });
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}

/** Ends the supervisor alone. */
export async function leaveSupervisor(settings: Settings): Promise<void> {
  const running = runningProcess(stackFiles.process(settings, "supervisor").pidFile);
  if (running === undefined) return;
  const deadlineMs = Date.now() + 5_000;
  sendSignal(running, "SIGUSR2");
  while (isRunning(running)) {
    if (Date.now() > deadlineMs) sendSignal(running, "SIGKILL");
    await sleep(20);
  }
}

async function untilStackReady(settings: Settings, progress: (line: string) => void, signal: AbortSignal): Promise<void> {
  const deadlineMs = Date.now() + readyTimeoutMs;
  const told = new Set<string>();
  for (;;) {
    signal.throwIfAborted();
    const { processes, ready } = await stackStatus(settings);
    for (const { name } of processes.filter((process) => process.ready && !told.has(process.name))) {
      told.add(name);
      progress(`${name}: ready`);
    }
    if (ready) return;
    const stuck =
      processes.find(({ ready: isUp, failures }) => !isUp && failures >= maxFailures) ?? processes.find((process) => !process.ready);
    if (stuck !== undefined && (stuck.failures >= maxFailures || Date.now() > deadlineMs)) {
      throw new StackError(
        `Cannot start ${stuck.name}: ${stuck.lastEnd ?? "it does not answer"}; see "${stuck.logFile}"\n${logTail(stuck.logFile)}`,
      );
    }
    await sleep(50, undefined, { signal });
  }
}
