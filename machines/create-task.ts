import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { type ContainerdNamespace, isAlreadyExists } from "../containerd/client.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { runcOptions } from "./create-container.ts";
import type { IdMapping } from "./id-mapping.ts";
import type { MachinePlan } from "./types.ts";

/** Makes the machine's namespaces and its init process, which waits for the task's start. Answers its pid. */
export async function createTask(
  ctr: ContainerdNamespace,
  settings: Settings,
  machine: { readonly plan: MachinePlan; readonly mounts: readonly Mount[]; readonly idMapping: IdMapping },
  signal: AbortSignal,
): Promise<number> {
  const { plan } = machine;
  // the shim appends (O_APPEND), so the file can be cut while it is written
  const log = pathToFileURL(instancePaths.machineLog(settings, plan.org, plan.id)).href;
  const request = {
    containerId: plan.id,
    rootfs: [...machine.mounts],
    stdout: log,
    stderr: log,
    options: runcOptions(settings, plan, machine.idMapping),
  };
  const deadline = Date.now() + deadShimTimeoutMs;
  for (;;) {
    try {
      return (await ctr.tasks.create(request, { signal })).pid;
    } catch (error) {
      // the shim of the machine before was killed: containerd says it has no such task and still cleans up after it
      if (!isAlreadyExists(error) || Date.now() > deadline) throw error;
      await delay(50, undefined, { signal });
    }
  }
}

const deadShimTimeoutMs = 15_000;
