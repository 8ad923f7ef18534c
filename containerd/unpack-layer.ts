import { randomUUID } from "node:crypto";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { Mount } from "../proto/gen/types/mount_pb.ts";
import { type ContainerdNamespace, isAlreadyExists } from "./client.ts";
import { setLabels } from "./content.ts";
import { emptySnapshot } from "./empty-snapshot.ts";
import { hasImpliedFolders } from "./implied-folders.ts";
import { gcLabels } from "./labels.ts";
import { addToLease } from "./leases.ts";
import { hasCommittedSnapshot, prepareSnapshot, removeSnapshot } from "./snapshots.ts";

/** One layer and the snapshot that it makes of its parent. */
export type LayerPlan = {
  readonly snapshotter: string;
  readonly layer: Descriptor;
  readonly diffId: Digest;
  readonly chainId: Digest;
  /** chain id of the layers below, "" for the lowest */
  readonly parent: Digest | "";
};

/** What is applied, and where to: over a parent, or alone, to be given its parent when it is committed (`rebase`). */
export type LayerToApply = {
  readonly snapshotter: string;
  readonly layer: Descriptor;
  /** when the image is known already */
  readonly chainId?: Digest;
  readonly over: { readonly parent: Digest | "" } | "nothing";
};

/** A layer in an active snapshot of its own. */
export type AppliedLayer = {
  readonly key: string;
  /** what its bytes unpacked to, whatever a config says */
  readonly diffId: string;
  readonly alone: boolean;
  /** its archive leaves out folders of its files: their modes and owners are the parent's to say, so that it was applied alone in vain */
  readonly needsParent: boolean;
};

/** The layer's bytes are not what the config says they unpack to. */
export class LayerMismatchError extends Error {
  override readonly name = "LayerMismatchError";
  constructor({ layer, diffId }: LayerPlan, found: string) {
    super(`Cannot unpack layer "${layer.digest}": it unpacks to "${found}", the image's config expects "${diffId}"`);
  }
}

/** Applies the layer to a fresh active snapshot. Whatever fails, that is removed. */
export async function applyLayer(ns: ContainerdNamespace, wanted: LayerToApply, signal: AbortSignal): Promise<AppliedLayer> {
  const { snapshotter, layer, chainId, over } = wanted;
  const alone = over === "nothing";
  const key = `extract-${randomUUID()} ${chainId ?? layer.digest}`;
  const startedAtMs = Date.now();
  let mounts: Mount[] = [];
  try {
    const labels: Record<string, string> = chainId === undefined ? {} : { "containerd.io/snapshot.ref": chainId };
    mounts = await prepareSnapshot(ns, { snapshotter, key, parent: alone ? "" : over.parent, labels }, signal);
    const target = alone ? mounts.map(convertingWhiteouts) : mounts;
    const { applied } = await ns.diff.apply({ diff: wireDescriptor(layer), mounts: target }, { signal });
    const needsParent = alone && (await hasImpliedFolders(mounts[0]?.source ?? "", startedAtMs, signal));
    return { key, diffId: applied?.digest ?? "nothing", alone, needsParent };
  } catch (error) {
    await emptySnapshot(mounts);
    await discardLayer(ns, snapshotter, key);
    throw error;
  }
}

/** As `applyLayer`; undefined when another unpack has committed the layer meanwhile. */
export async function applyPlanned(
  ns: ContainerdNamespace,
  plan: LayerPlan,
  over: LayerToApply["over"],
  signal: AbortSignal,
): Promise<AppliedLayer | undefined> {
  const { snapshotter, layer, chainId } = plan;
  try {
    return await applyLayer(ns, { snapshotter, layer, chainId, over }, signal);
  } catch (error) {
    if (isAlreadyExists(error) && (await hasCommittedSnapshot(ns, snapshotter, chainId, signal))) return undefined;
    throw error;
  }
}

/**
 * Names the applied snapshot by its chain id, over its parent. One that was committed by another unpack is taken instead. The diff id is
 * compared here, before any snapshot may carry the chain id: else an image could claim another's base layer.
 * @throws LayerMismatchError
 */
export async function commitLayer(
  ns: ContainerdNamespace,
  plan: LayerPlan,
  applied: AppliedLayer | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { snapshotter, layer, diffId, chainId } = plan;
  if (applied === undefined || !(await commitSnapshot(ns, plan, applied, signal))) {
    if (ns.lease !== undefined) await addToLease(ns, ns.lease, { type: `snapshots/${snapshotter}`, id: chainId }, signal);
    // the collector may have been quicker than our lease
    await ns.snapshots.stat({ snapshotter, key: chainId }, { signal });
  }
  await setLabels(ns, layer.digest, { [gcLabels.uncompressed]: diffId }, signal);
}

/** Whether it was this snapshot that got the chain id. */
async function commitSnapshot(
  ns: ContainerdNamespace,
  plan: LayerPlan,
  { key, alone, diffId }: AppliedLayer,
  signal: AbortSignal,
): Promise<boolean> {
  const { snapshotter, chainId } = plan;
  try {
    if (diffId !== plan.diffId) throw new LayerMismatchError(plan, diffId);
    await ns.snapshots.commit({ snapshotter, name: chainId, key, parent: alone ? plan.parent : "" }, { signal });
    return true;
  } catch (error) {
    await discardLayer(ns, snapshotter, key);
    if (!isAlreadyExists(error)) throw error;
    return false;
  }
}

/** Removes an active snapshot that will not be committed, whatever became of the caller's signal. What resists goes with the lease. */
export async function discardLayer(ns: ContainerdNamespace, snapshotter: string, key: string): Promise<void> {
  await removeSnapshot(ns, snapshotter, key, AbortSignal.timeout(10_000)).catch(() => undefined);
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
