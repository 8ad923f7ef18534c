import { randomUUID } from "node:crypto";
import { Metadata } from "nice-grpc";
import { type Containerd, type ContainerdNamespace, ensureNamespace, openContainerd } from "../../containerd/client.ts";
import { collectGarbage } from "../../containerd/collect-garbage.ts";
import { listBlobs } from "../../containerd/content.ts";
import { deleteImage, listImages } from "../../containerd/images.ts";
import { deleteLease, listLeases } from "../../containerd/leases.ts";
import { removeSnapshot } from "../../containerd/snapshots.ts";

export type ScratchNamespace = AsyncDisposable & {
  readonly containerd: Containerd;
  readonly name: string;
  readonly ns: ContainerdNamespace;
  /** Garbage collection, now. */
  collect(): Promise<void>;
};

/** A containerd namespace of its own, gone with everything in it at the scope's end. */
export async function openScratchNamespace(socket: string, name = `test-${randomUUID().slice(0, 8)}`): Promise<ScratchNamespace> {
  const containerd = openContainerd(socket);
  const ns = containerd.namespace(name);
  await ensureNamespace(containerd, name, AbortSignal.timeout(10_000));
  const collect = () => collectGarbage(ns, AbortSignal.timeout(60_000));
  return {
    containerd,
    name,
    ns,
    collect,
    async [Symbol.asyncDispose]() {
      const signal = AbortSignal.timeout(60_000);
      for (const image of await listImages(ns, [], signal)) await deleteImage(ns, image.name, signal);
      for (const lease of await listLeases(ns, signal)) await deleteLease(ns, lease.id, signal);
      await collect();
      for (const snapshotter of ["overlayfs", "native"]) await removeSnapshots(ns, snapshotter, signal);
      for (const { ref } of (await ns.content.listStatuses({}, { signal })).statuses) await ns.content.abort({ ref }, { signal });
      for await (const { digest } of listBlobs(ns, [], signal)) await ns.content.delete({ digest }, { signal });
      await containerd.namespaces.delete({ name }, { signal, metadata: Metadata({ "containerd-namespace": name }) });
      await containerd[Symbol.asyncDispose]();
    },
  };
}

/** Those that nothing holds but a test's own hand; a parent goes after its children. */
async function removeSnapshots(ns: ContainerdNamespace, snapshotter: string, signal: AbortSignal): Promise<void> {
  for (let pass = 0; pass < 20; pass += 1) {
    const names: string[] = [];
    for await (const { info } of ns.snapshots.list({ snapshotter }, { signal })) names.push(...info.map((i) => i.name));
    if (names.length === 0) return;
    for (const name of names) await removeSnapshot(ns, snapshotter, name, signal).catch(() => undefined);
  }
}
