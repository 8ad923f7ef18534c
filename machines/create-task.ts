import { setTimeout as delay } from "node:timers/promises";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { type ContainerdNamespace, isAlreadyExists } from "../containerd/client.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { bundleRaced } from "./bundle-raced.ts";
import { taskOptions } from "./create-container.ts";
import type { IdMapping } from "./id-mapping.ts";
import { openLogStreams } from "./logs/log-streams.ts";
import { stopTask } from "./stop-task.ts";
import type { MachinePlan } from "./types.ts";

/** Makes the machine's namespaces and its init process, which waits for the task's start. Answers its pid. */
export async function createTask(
  ctr: ContainerdNamespace,
  settings: Settings,
  machine: {
    readonly plan: MachinePlan;
    readonly mounts: readonly Mount[];
    readonly idMapping: IdMapping;
    readonly runtime: string;
  },
  signal: AbortSignal,
): Promise<number> {
  const { plan } = machine;
  const request = {
    containerId: plan.id,
    rootfs: [...machine.mounts],
    ...(await openLogStreams(instancePaths.machineLog(settings, plan.org, plan.id), machine.runtime)),
    ...taskOptions(settings, machine),
  };
  const deadline = Date.now() + deadShimTimeoutMs;
  for (;;) {
    try {
      return (await ctr.tasks.create(request, { signal })).pid;
    } catch (error) {
      if (!isRaced(error) || Date.now() > deadline) throw error;
      // either its shim was killed and containerd still cleans up after it, or the caller of another creation was: that may yet end well,
      // or take this one's bundle away as it ends
      await stopTask(ctr, plan.id, { signal: "SIGKILL", timeoutMs: 0 }, signal);
      await delay(50, undefined, { signal });
    }
  }
}

function isRaced(error: unknown): boolean {
  return isAlreadyExists(error) || (error instanceof Error && bundleRaced(error.message));
}

const deadShimTimeoutMs = 15_000;
