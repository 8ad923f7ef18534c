import { type ContainerdNamespace, isNotFound, orUndefined } from "../containerd/client.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { MachineError } from "./errors.ts";
import type { IdMapping } from "./id-mapping.ts";
import { hasUserNamespace, type MachinePlan } from "./types.ts";

export const snapshotKeyOf = (machineId: string): string => `machine/${machineId}`;

/**
 * A writable snapshot of the image. The overlay is mounted ID-mapped for a machine with a user namespace: without these labels the whole tree
 * would have to be chowned.
 */
export async function prepareSnapshot(
  ctr: ContainerdNamespace,
  snapshotter: string,
  machine: { readonly plan: MachinePlan; readonly chainId: string; readonly idMapping: IdMapping },
  signal: AbortSignal,
): Promise<readonly Mount[]> {
  const key = snapshotKeyOf(machine.plan.id);
  try {
    const { mounts } = await ctr.snapshots.prepare(
      { snapshotter, key, parent: machine.chainId, labels: hasUserNamespace(machine.plan) ? idMapLabels(machine.idMapping) : {} },
      { signal },
    );
    return mounts;
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new MachineError(
      "IMAGE_NOT_UNPACKED",
      `Cannot start machine "${machine.plan.id}": snapshot "${machine.chainId}" of image "${machine.plan.image.name}" is not in containerd; push it again`,
      { cause: error },
    );
  }
}

/** In place of a machine's snapshot a new one of the same image, as if nothing had run in it. */
export async function renewSnapshot(ctr: ContainerdNamespace, snapshotter: string, machineId: string, signal: AbortSignal): Promise<void> {
  const key = snapshotKeyOf(machineId);
  const { info } = await ctr.snapshots.stat({ snapshotter, key }, { signal });
  const { parent = "", labels = {} } = info ?? {};
  await ctr.snapshots.remove({ snapshotter, key }, { signal });
  await ctr.snapshots.prepare({ snapshotter, key, parent, labels }, { signal });
}

export async function removeSnapshot(ctr: ContainerdNamespace, snapshotter: string, machineId: string, signal: AbortSignal): Promise<void> {
  await orUndefined(ctr.snapshots.remove({ snapshotter, key: snapshotKeyOf(machineId) }, { signal }));
}

function idMapLabels({ containerID, hostID, size }: IdMapping): Record<string, string> {
  const mapping = `${containerID}:${hostID}:${size}`;
  return { "containerd.io/snapshot/uidmapping": mapping, "containerd.io/snapshot/gidmapping": mapping };
}
