import type { Digest } from "../oci/digest.ts";
import { type Containerd, type ContainerdNamespace, isNotFound } from "./client.ts";
import { chainIds } from "./chain-id.ts";
import { setLabels } from "./content.ts";
import { readImage, type StoredImage } from "./image.ts";
import { gcLabels } from "./labels.ts";
import { addToLease } from "./leases.ts";
import { hasCommittedSnapshot, snapshotterCapabilities } from "./snapshots.ts";
import { type LayerPlan, applyLayer, commitLayer, discardLayer } from "./unpack-layer.ts";

export type UnpackOptions = { readonly snapshotter: string; readonly lease: string; readonly signal: AbortSignal };

export type UnpackedImage = {
  /** names the snapshot that a machine's own is prepared over; undefined for an image without layers */
  readonly chainId: Digest | undefined;
  readonly layers: number;
};

const mostAttempts = 3;
/** Decompression and file creation are bound by processors and disk; more at once only adds memory. */
const mostAtOnce = 3;

/**
 * Unpacks an image so that a machine can start from it; layers that stand already cost nothing. Everything made is held by the
 * lease until the image record and the config's label hold it. Several unpacks of one image may run at once.
 * @throws ClientError NOT_FOUND when content is missing, LayerMismatchError, ImageDocumentError.
 */
export async function unpackImage(
  containerd: Containerd,
  namespace: string,
  manifestDigest: Digest,
  options: UnpackOptions,
): Promise<UnpackedImage> {
  const { snapshotter, lease, signal } = options;
  const ns = containerd.namespace(namespace, lease);
  const image = await readImage(ns, manifestDigest, signal);
  const plan = planLayers(image, snapshotter);
  const top = plan.at(-1);
  if (top === undefined) return { chainId: undefined, layers: 0 };

  for (let attempt = 1; ; attempt += 1) {
    try {
      await unpackLayers(containerd, ns, plan, lease, signal);
      break;
    } catch (error) {
      // a parent may be collected between our look and its use: begin again from what stands now
      if (attempt === mostAttempts || !isMissingParent(error)) throw error;
    }
  }
  await setLabels(ns, image.manifest.config.digest, { [gcLabels.snapshot(snapshotter)]: top.chainId }, signal);
  return { chainId: top.chainId, layers: plan.length };
}

/** What has to stand after each layer, bottom first. */
export function planLayers(image: StoredImage, snapshotter: string): readonly LayerPlan[] {
  const chain = chainIds(image.diffIds);
  return image.manifest.layers.map((layer, index) => ({
    snapshotter,
    layer,
    diffId: image.diffIds[index]!,
    chainId: chain[index]!,
    parent: index === 0 ? "" : chain[index - 1]!,
  }));
}

async function unpackLayers(
  containerd: Containerd,
  ns: ContainerdNamespace,
  plan: readonly LayerPlan[],
  lease: string,
  signal: AbortSignal,
): Promise<void> {
  const missing = plan.slice(await countStanding(ns, plan, lease, signal));
  const capabilities = missing.length > 1 ? await snapshotterCapabilities(containerd, missing[0]!.snapshotter, signal) : undefined;
  if (capabilities?.has("rebase") === true) await unpackTogether(ns, missing, signal);
  else await unpackInOrder(ns, missing, signal);
}

/** How many layers from the bottom stand; each is put under the lease and then looked for again. */
async function countStanding(ns: ContainerdNamespace, plan: readonly LayerPlan[], lease: string, signal: AbortSignal): Promise<number> {
  for (let count = plan.length; count > 0; count -= 1) {
    const { snapshotter, chainId } = plan[count - 1]!;
    if (!(await hasCommittedSnapshot(ns, snapshotter, chainId, signal))) continue;
    // a snapshot keeps its parents
    await addToLease(ns, lease, { type: `snapshots/${snapshotter}`, id: chainId }, signal);
    if (await hasCommittedSnapshot(ns, snapshotter, chainId, signal)) return count;
  }
  return 0;
}

async function unpackInOrder(ns: ContainerdNamespace, plan: readonly LayerPlan[], signal: AbortSignal): Promise<void> {
  for (const layer of plan) {
    const applied = await applyLayer(ns, layer, "over-parent", signal);
    await commitLayer(ns, layer, "over-parent", applied, signal);
  }
}

/** Applies layers side by side before their parents are known, and gives each its parent when it is committed. */
async function unpackTogether(ns: ContainerdNamespace, plan: readonly LayerPlan[], signal: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const applying: Promise<string | undefined>[] = [];
  const limit = createLimit(mostAtOnce);
  let first: { readonly error: unknown } | undefined;
  for (const layer of plan) {
    const applied = limit(() => applyLayer(ns, layer, "alone", either));
    applied.catch((error: unknown) => {
      first ??= { error };
      failed.abort();
    });
    applying.push(applied);
  }
  let committed = 0;
  try {
    for (const layer of plan) {
      await commitLayer(ns, layer, "alone", await applying[committed]!, signal);
      committed += 1;
    }
  } catch (error) {
    // the others only report that they were stopped
    throw first?.error ?? error;
  } finally {
    failed.abort();
    const rest = await Promise.allSettled(applying.slice(committed));
    for (const [index, result] of rest.entries()) {
      if (result.status === "fulfilled") await discardLayer(ns, plan[committed + index]!, result.value);
    }
  }
}

function createLimit(most: number): <T>(task: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    running += 1;
    try {
      return await task();
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };
}

function isMissingParent(error: unknown): boolean {
  return isNotFound(error) && /snapshot/.test((error as Error).message);
}
