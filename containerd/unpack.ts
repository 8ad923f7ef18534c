import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { type Containerd, type ContainerdNamespace, isNotFound } from "./client.ts";
import { chainIds } from "./chain-id.ts";
import { setLabels, statBlob } from "./content.ts";
import { readImage, type StoredImage } from "./image.ts";
import { gcLabels } from "./labels.ts";
import { addToLease } from "./leases.ts";
import { hasCommittedSnapshot, snapshotterCapabilities } from "./snapshots.ts";
import { type AppliedLayer, type LayerPlan, applyLayer, applyPlanned, commitLayer, discardLayer } from "./unpack-layer.ts";

export type UnpackOptions = {
  readonly snapshotter: string;
  readonly lease: string;
  readonly signal: AbortSignal;
  /** absent: all layers are applied now, a few at once */
  readonly layers?: LayerSource;
};

/** Layers that were applied before their image was known, and turns for those that were not. */
export type LayerSource = {
  /** Gives away the applied layer, if there is one; who has it commits or discards it. */
  take(layer: Descriptor, signal: AbortSignal): Promise<AppliedLayer | undefined>;
  inTurn<T>(signal: AbortSignal, task: (signal: AbortSignal) => Promise<T>): Promise<T>;
};

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
  const { snapshotter, lease, signal, layers = createLayerSource() } = options;
  const ns = containerd.namespace(namespace, lease);
  const image = await readImage(ns, manifestDigest, signal);
  const plan = planLayers(image, snapshotter);
  const top = plan.at(-1);
  if (top === undefined) return { chainId: undefined, layers: 0 };

  for (let attempt = 1; ; attempt += 1) {
    try {
      await unpackLayers(containerd, { ns, layers, signal }, plan, lease);
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

type Unpacking = { readonly ns: ContainerdNamespace; readonly layers: LayerSource; readonly signal: AbortSignal };

async function unpackLayers(containerd: Containerd, unpacking: Unpacking, plan: readonly LayerPlan[], lease: string): Promise<void> {
  const { ns, signal } = unpacking;
  const standing = await countStanding(ns, plan, lease, signal);
  await labelStanding(unpacking, plan.slice(0, standing));
  const missing = plan.slice(standing);
  if (missing.length === 0) return;
  const capabilities = await snapshotterCapabilities(containerd, missing[0]!.snapshotter, signal);
  if (capabilities.has("rebase")) await unpackTogether(unpacking, missing);
  else await unpackInOrder(unpacking, missing);
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

/**
 * A snapshot may stand from other bytes than this blob's (of another compression), or its blob's label was still to come when containerd
 * ended. What a blob without one unpacks to nobody knows: it is applied again, and compared.
 */
async function labelStanding({ ns, layers, signal }: Unpacking, standing: readonly LayerPlan[]): Promise<void> {
  const stats = await Promise.all(standing.map(({ layer }) => statBlob(ns, layer.digest, signal)));
  for (const [index, plan] of standing.entries()) {
    const stat = stats[index];
    if (stat === undefined || stat.labels[gcLabels.uncompressed] !== undefined) continue;
    const { snapshotter, layer, parent } = plan;
    const taken = await layers.take(layer, signal);
    // not under the chain id's name: containerd would answer that it exists, and compare nothing
    const applied = taken ?? (await layers.inTurn(signal, (turn) => applyLayer(ns, { snapshotter, layer, over: { parent } }, turn)));
    await commitLayer(ns, plan, applied, signal);
  }
}

async function unpackInOrder({ ns, layers, signal }: Unpacking, plan: readonly LayerPlan[]): Promise<void> {
  for (const layer of plan) {
    const applied = await layers.inTurn(signal, (turn) => applyPlanned(ns, layer, { parent: layer.parent }, turn));
    await commitLayer(ns, layer, applied, signal);
  }
}

/** Applies layers side by side before their parents are known, and gives each its parent when it is committed. */
async function unpackTogether(unpacking: Unpacking, plan: readonly LayerPlan[]): Promise<void> {
  const { ns, layers, signal } = unpacking;
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const applying: Promise<AppliedLayer | undefined>[] = [];
  let first: { readonly error: unknown } | undefined;
  for (const layer of plan) {
    const applied = takeOrApply({ ns, layers, signal: either }, layer);
    applied.catch((error: unknown) => {
      first ??= { error };
      failed.abort();
    });
    applying.push(applied);
  }
  let committed = 0;
  try {
    for (const layer of plan) {
      const applied = await applying[committed]!;
      committed += 1;
      await commitLayer(ns, layer, await overParent(unpacking, layer, applied), signal);
    }
  } catch (error) {
    // the others only report that they were stopped
    throw first?.error ?? error;
  } finally {
    failed.abort();
    for (const result of await Promise.allSettled(applying.slice(committed))) {
      if (result.status === "fulfilled" && result.value !== undefined) await discardLayer(ns, plan[0]!.snapshotter, result.value.key);
    }
  }
}

async function takeOrApply({ ns, layers, signal }: Unpacking, plan: LayerPlan): Promise<AppliedLayer | undefined> {
  const taken = await layers.take(plan.layer, signal);
  return taken ?? (await layers.inTurn(signal, (turn) => applyPlanned(ns, plan, "nothing", turn)));
}

/** Once more, for the rare layer that needs its parent: that is committed by now. */
async function overParent(
  { ns, layers, signal }: Unpacking,
  plan: LayerPlan,
  applied: AppliedLayer | undefined,
): Promise<AppliedLayer | undefined> {
  if (applied === undefined || !applied.needsParent || plan.parent === "") return applied;
  await discardLayer(ns, plan.snapshotter, applied.key);
  return layers.inTurn(signal, (turn) => applyPlanned(ns, plan, { parent: plan.parent }, turn));
}

function createLayerSource(): LayerSource {
  const limit = createLimit(mostAtOnce);
  return { take: async () => undefined, inTurn: (signal, task) => limit(() => task(signal)) };
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
