import type { Digest } from "../oci/digest.ts";
import { Kind } from "../proto/gen/services/snapshots/v1/snapshots_pb.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { type Containerd, type ContainerdNamespace, isNotFound, orUndefined } from "./client.ts";
import type { Labels } from "./labels.ts";

export type SnapshotInfo = { readonly name: string; readonly parent: string; readonly committed: boolean; readonly labels: Labels };

/** Undefined when there is no snapshot of that key. */
export async function statSnapshot(
  ns: ContainerdNamespace,
  snapshotter: string,
  key: string,
  signal: AbortSignal,
): Promise<SnapshotInfo | undefined> {
  const response = await orUndefined(ns.snapshots.stat({ snapshotter, key }, { signal }));
  if (response?.info === undefined) return undefined;
  const { name, parent, kind, labels } = response.info;
  return { name, parent, committed: kind === Kind.COMMITTED, labels };
}

/** Whether the layers up to this chain id stand unpacked and committed. */
export async function hasCommittedSnapshot(
  ns: ContainerdNamespace,
  snapshotter: string,
  chainId: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  return (await statSnapshot(ns, snapshotter, chainId, signal))?.committed === true;
}

/** containerd answers in milliseconds; a commit of another may make it wait for the disk. */
const prepareTimeoutMs = 30_000;

/**
 * An active snapshot over `parent` ("" for none). Once it was sent it is not cancelled: containerd would go through with it after its
 * removal was asked for, and it would stay. @throws ClientError ALREADY_EXISTS for a key that is taken, NOT_FOUND without the parent.
 */
export async function prepareSnapshot(
  ns: ContainerdNamespace,
  snapshot: { readonly snapshotter: string; readonly key: string; readonly parent: string; readonly labels: Labels },
  signal: AbortSignal,
): Promise<Mount[]> {
  signal.throwIfAborted();
  const request = { ...snapshot, labels: { ...snapshot.labels } };
  const { mounts } = await ns.snapshots.prepare(request, { signal: AbortSignal.timeout(prepareTimeoutMs) });
  return mounts;
}

/** A snapshot that is gone already is a success. */
export async function removeSnapshot(ns: ContainerdNamespace, snapshotter: string, key: string, signal: AbortSignal): Promise<void> {
  try {
    await ns.snapshots.remove({ snapshotter, key }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** What the snapshotter says it can do: `rebase` takes a parent at commit, `remap-ids` ID-maps its mounts. */
export async function snapshotterCapabilities(
  containerd: Containerd,
  snapshotter: string,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const filters = [`type==io.containerd.snapshotter.v1,id==${snapshotter}`];
  const { plugins } = await containerd.introspection.plugins({ filters }, { signal });
  return new Set(plugins.flatMap((plugin) => plugin.capabilities));
}
