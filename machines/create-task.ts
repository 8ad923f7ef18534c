import { pathToFileURL } from "node:url";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import type { ContainerdNamespace } from "../containerd/client.ts";
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
  const { pid } = await ctr.tasks.create(
    {
      containerId: plan.id,
      rootfs: [...machine.mounts],
      stdout: log,
      stderr: log,
      options: runcOptions(settings, plan, machine.idMapping),
    },
    { signal },
  );
  return pid;
}
