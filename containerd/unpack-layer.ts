import { randomUUID } from "node:crypto";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { type ContainerdNamespace, isAlreadyExists } from "./client.ts";
import { setLabels } from "./content.ts";
import { gcLabels } from "./labels.ts";
import { addToLease } from "./leases.ts";
import { hasCommittedSnapshot, prepareSnapshot, removeSnapshot } from "./snapshots.ts";

/** Where a layer is applied: over its parent, or alone, to be given its parent when it is committed (`rebase`). */
export type LayerPlace = "over-parent" | "alone";

/** One layer and the snapshot that it makes of its parent. */
export type LayerPlan = {
  readonly snapshotter: string;
  readonly layer: Descriptor;
  readonly diffId: Digest;
  readonly chainId: Digest;
  /** chain id of the layers below, "" for the lowest */
  readonly parent: Digest | "";
};

/** The layer's bytes are not what the config says they unpack to. */
export class LayerMismatchError extends Error {
  override readonly name = "LayerMismatchError";
  constructor({ layer, diffId }: LayerPlan, found: string) {
    super(`Cannot unpack layer "${layer.digest}": it unpacks to "${found}", the image's config expects "${diffId}"`);
  }
}

/**
 * Applies the layer to a fresh active snapshot and answers its key; undefined when someone else has committed the layer meanwhile.
 * The diff id is compared here, before any snapshot may carry the chain id: else an image could claim another's base layer.
 */
export async function applyLayer(
  ns: ContainerdNamespace,
  plan: LayerPlan,
  place: LayerPlace,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { snapshotter, layer, diffId, chainId, parent } = plan;
  const key = `extract-${randomUUID()} ${chainId}`;
  try {
    const labels = { "containerd.io/snapshot.ref": chainId };
    const mounts = await prepareSnapshot(ns, { snapshotter, key, parent: place === "alone" ? "" : parent, labels }, signal);
    const target = place === "alone" ? mounts.map(convertingWhiteouts) : mounts;
    const { applied } = await ns.diff.apply({ diff: wireDescriptor(layer), mounts: target }, { signal });
    if (applied?.digest !== diffId) throw new LayerMismatchError(plan, applied?.digest ?? "nothing");
    return key;
  } catch (error) {
    await discardLayer(ns, plan, key);
    if (isAlreadyExists(error) && (await hasCommittedSnapshot(ns, snapshotter, chainId, signal))) return undefined;
    throw error;
  }
}

/** Names the applied snapshot by its chain id, over its parent. One that was committed by another unpack is taken instead. */
export async function commitLayer(
  ns: ContainerdNamespace,
  plan: LayerPlan,
  place: LayerPlace,
  key: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { snapshotter, layer, diffId, chainId } = plan;
  const parent = place === "alone" ? plan.parent : "";
  if (key !== undefined) {
    try {
      await ns.snapshots.commit({ snapshotter, name: chainId, key, parent }, { signal });
    } catch (error) {
      await discardLayer(ns, plan, key);
      if (!isAlreadyExists(error)) throw error;
      key = undefined;
    }
  }
  if (key === undefined && ns.lease !== undefined) {
    await addToLease(ns, ns.lease, { type: `snapshots/${snapshotter}`, id: chainId }, signal);
  }
  await setLabels(ns, layer.digest, { [gcLabels.uncompressed]: diffId }, signal);
}

/** Removes an active snapshot that will not be committed, whatever became of the caller's signal. What resists goes with the lease. */
export async function discardLayer(ns: ContainerdNamespace, { snapshotter }: LayerPlan, key: string | undefined): Promise<void> {
  if (key !== undefined) await removeSnapshot(ns, snapshotter, key, AbortSignal.timeout(10_000)).catch(() => undefined);
}

function wireDescriptor({ mediaType, digest, size }: Descriptor) {
  return { mediaType, digest, size: BigInt(size) };
}

/**
 * Without a parent overlayfs answers a bind mount, and a layer applied to that keeps its whiteouts as plain files: what an upper
 * layer deletes would come back. As an overlay mount of the same folder the applier converts them.
 */
function convertingWhiteouts(mount: Mount): Pick<Mount, "type" | "source" | "target" | "options"> {
  const { type, source, target, options } = mount;
  if (type !== "bind") return { type, source, target, options };
  return { type: "overlay", source: "overlay", target, options: [`upperdir=${source}`] };
}
