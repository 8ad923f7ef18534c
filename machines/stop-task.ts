import { type ContainerdNamespace, isNotFound, orUndefined } from "../containerd/client.ts";
import { Status } from "../proto/gen/types/task/task_pb.ts";
import { signalNumber } from "./signals.ts";
import type { StopOptions } from "./types.ts";

/** Signal, wait, kill, delete. Nothing happens when there is no task. The cgroup is the caller's to check. */
export async function stopTask(ctr: ContainerdNamespace, id: string, options: StopOptions, signal: AbortSignal): Promise<void> {
  const found = await orUndefined(ctr.tasks.get({ containerId: id }, { signal }));
  if (found?.process === undefined) return;
  const { status } = found.process;
  if (status === Status.RUNNING || status === Status.PAUSED || status === Status.PAUSING) {
    const ended = await politely(ctr, id, status, options, signal);
    if (!ended) await killAll(ctr, id, status, signal);
  } else if (status === Status.CREATED) {
    await killAll(ctr, id, status, signal);
  }
  await orUndefined(ctr.tasks.delete({ containerId: id }, { signal }));
}

/** Whether the machine ended by itself within the time it was given. */
async function politely(ctr: ContainerdNamespace, id: string, status: Status, options: StopOptions, signal: AbortSignal): Promise<boolean> {
  if (options.timeoutMs <= 0) return false;
  const sent = await orUndefined(ctr.tasks.kill({ containerId: id, signal: signalNumber(options.signal) }, { signal }));
  if (sent === undefined) return true;
  // a frozen process sees its signal when it thaws
  if (status !== Status.RUNNING) await thaw(ctr, id, signal);
  return await endsWithin(ctr, id, options.timeoutMs, signal);
}

async function killAll(ctr: ContainerdNamespace, id: string, status: Status, signal: AbortSignal): Promise<void> {
  const sent = await orUndefined(ctr.tasks.kill({ containerId: id, signal: signalNumber("SIGKILL"), all: true }, { signal }));
  if (sent === undefined) return;
  if (status !== Status.RUNNING) await thaw(ctr, id, signal);
  await endsWithin(ctr, id, 10_000, signal);
}

async function endsWithin(ctr: ContainerdNamespace, id: string, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    await ctr.tasks.wait({ containerId: id }, { signal: AbortSignal.any([signal, timeout]) });
    return true;
  } catch (error) {
    if (isNotFound(error)) return true;
    signal.throwIfAborted();
    if (timeout.aborted) return false;
    throw error;
  }
}

/** A killed process may be gone, or thawed by its runtime, before it can be resumed. */
async function thaw(ctr: ContainerdNamespace, id: string, signal: AbortSignal): Promise<void> {
  try {
    await ctr.tasks.resume({ containerId: id }, { signal });
  } catch (error) {
    if (isNotFound(error) || (error instanceof Error && /cannot resume|not paused|not running|already finished/i.test(error.message)))
      return;
    throw error;
  }
}
