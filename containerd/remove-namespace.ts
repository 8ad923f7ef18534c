import { Metadata } from "nice-grpc";
import { type Containerd, type ContainerdNamespace, orUndefined } from "./client.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { listBlobs } from "./content.ts";
import { deleteImage, listImages } from "./images.ts";
import { deleteLease, listLeases } from "./leases.ts";
import { removeSnapshot } from "./snapshots.ts";

/** Removes a namespace with all that is in it; no task may run there. One that is gone already is a success. */
export async function removeNamespace(containerd: Containerd, name: string, snapshotter: string, signal: AbortSignal): Promise<void> {
  const { namespaces } = await containerd.namespaces.list({}, { signal });
  if (!namespaces.some((namespace) => namespace.name === name)) return;
  const ns = containerd.namespace(name);
  const { containers } = await ns.containers.list({}, { signal });
  for (const { id } of containers) await orUndefined(ns.containers.delete({ id }, { signal }));
  for (const image of await listImages(ns, [], signal)) await deleteImage(ns, image.name, signal);
  for (const { id } of await listLeases(ns, signal)) await deleteLease(ns, id, signal);
  await collectGarbage(ns, signal);
  for (const { ref } of (await ns.content.listStatuses({}, { signal })).statuses) await orUndefined(ns.content.abort({ ref }, { signal }));
  await removeSnapshots(ns, snapshotter, signal);
  for await (const { digest } of listBlobs(ns, [], signal)) await orUndefined(ns.content.delete({ digest }, { signal }));
  await orUndefined(containerd.namespaces.delete({ name }, { signal, metadata: Metadata({ "containerd-namespace": name }) }));
}

/** What no record held any more, children before their parents. */
async function removeSnapshots(ns: ContainerdNamespace, snapshotter: string, signal: AbortSignal): Promise<void> {
  const parents = new Map<string, string>();
  for await (const { info } of ns.snapshots.list({ snapshotter }, { signal })) {
    for (const snapshot of info) parents.set(snapshot.name, snapshot.parent);
  }
  while (parents.size > 0) {
    const inUse = new Set(parents.values());
    const leaves = [...parents.keys()].filter((key) => !inUse.has(key));
    for (const key of leaves) {
      await removeSnapshot(ns, snapshotter, key, signal);
      parents.delete(key);
    }
    if (leaves.length === 0) return;
  }
}
