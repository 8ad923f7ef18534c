import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { lockFile } from "../config/file-lock.ts";
import type { Settings } from "../config/settings.ts";
import { teardownHost } from "../machines/teardown.ts";
import { runningProcess, startProcess, stopProcess, untilReady } from "./child-process.ts";
import { containerdDaemon } from "./engines.ts";
import { leaveExistingContainerd } from "./existing-containerd.ts";
import { stackFiles } from "./files.ts";
import { leftovers, removeEmptyCgroups } from "./leftovers.ts";
import { unmountBelow } from "./mounts.ts";
import { containerdOptions } from "./processes.ts";
import { StackError } from "./stack-error.ts";
import { dataDirOf, existingSettings } from "./settings.ts";
import { killShims, removeShimSockets } from "./shims.ts";
import { specsOf } from "./status.ts";
import { stopInOrder, stopOne } from "./stop-order.ts";
import { leaveSupervisor, requireRoot } from "./up.ts";

export type DownOptions = {
  readonly dataDir?: string;
  /** removes the data, too */
  readonly purge?: boolean;
};

/**
 * Stops all that `up` and the machines' workers started and leaves the host as it was. May be repeated.
 * @returns false when no such instance was set up
 * @throws StackError listing what could not be removed
 */
export async function down(options: DownOptions, progress: (line: string) => void, signal: AbortSignal): Promise<boolean> {
  requireRoot("down");
  const dataDir = dataDirOf(options);
  if (!existsSync(dataDir)) return false;
  const settings = existingSettings({ dataDir });
  {
    await using _lock = await lockFile(
      stackFiles.lock(dataDir),
      (holder) => progress(`waiting for process ${holder.pid}, which changes the stack`),
      signal,
    );
    if (settings !== undefined) await stopAll(settings, progress, signal);
  }
  if (options.purge === true) {
    progress(`removing "${dataDir}"`);
    if (settings !== undefined) await leaveExistingContainerd(settings, signal);
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
  }
  return settings !== undefined;
}

/** First whatever could start something anew, then the machines while containerd can still be asked, then everything else. */
async function stopAll(settings: Settings, progress: (line: string) => void, signal: AbortSignal): Promise<void> {
  const specs = specsOf(settings);
  await leaveSupervisor(settings);
  const starters = specs.filter(({ name }) => name === "host" || name === "control");
  await Promise.all(starters.map(async (spec) => await stopOne(settings, spec)));

  progress("stopping the machines");
  // a containerd of the operator may be dead: the rest is stopped all the same
  const machines = await settled(removeMachines(settings, signal));
  signal.throwIfAborted();

  progress("stopping the stack");
  await stopInOrder(settings, specs);
  if (settings.containerd.managed) {
    await killShims(settings.containerd.socket);
    await removeShimSockets(containerdOptions(settings).state);
  }
  await unmountBelow(settings.runDir);
  await unmountBelow(settings.dataDir);
  removeEmptyCgroups(settings.instance);

  const left = await leftovers(settings, signal);
  if (machines.failed) throw machines.error;
  if (left.length > 0)
    throw new StackError(`Cannot remove everything of instance ${settings.instance}:\n${left.map((line) => `  ${line}`).join("\n")}`);
  await rm(settings.runDir, { recursive: true, force: true });
}

async function settled(work: Promise<void>): Promise<{ failed: false } | { failed: true; error: unknown }> {
  return await work.then(
    () => ({ failed: false }),
    (error: unknown) => ({ failed: true, error }),
  );
}

async function removeMachines(settings: Settings, signal: AbortSignal): Promise<void> {
  if (!settings.containerd.managed) return await teardownHost(settings, signal);
  const options = containerdOptions(settings);
  if (!existsSync(options.root)) return;
  const spec = containerdDaemon(options);
  const files = stackFiles.process(settings, "containerd");
  const identity = runningProcess(files.pidFile) ?? startProcess(spec, files);
  try {
    await untilReady(spec, identity, files, AbortSignal.any([signal, AbortSignal.timeout(30_000)]));
    await teardownHost(settings, signal);
  } finally {
    await stopProcess(identity, spec.stopTimeoutMs);
  }
}
