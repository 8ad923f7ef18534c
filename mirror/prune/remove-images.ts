import { setTimeout as sleep } from "node:timers/promises";
import type { ContainerdNamespace } from "../../containerd/client.ts";
import { deleteImageOf } from "../../containerd/images.ts";
import type { OrgOnHost } from "./org-images.ts";
import { readOrgImages } from "./org-images.ts";
import { type PlanInput, type PlannedRemoval, planPrune } from "./plan.ts";

const batchSize = 16;
/** Each removal is a write in containerd's one database: deploys go first. */
const pauseMs = 50;
/** containerd keeps writers waiting while it collects, the longer the more there is: it is not left to pile up. */
const collectEvery = 64;
/** As containerd does with its own collections, most of the time is left to others. */
const pausePerCollection = 10;
const longestPauseMs = 5_000;

export type RemovalOptions = {
  readonly namespaceOf: (org: string) => ContainerdNamespace;
  readonly imageHost: string;
  /** what the plan was made from */
  readonly planned: Omit<PlanInput, "host">;
  /** collects garbage, now */
  readonly collect: () => Promise<void>;
  readonly onRemoved?: (count: number) => void;
};

/**
 * Removes the planned records, a few at a time, and answers which. Before each batch the plan is made anew from what the org has by then.
 * Their content goes with the next garbage collection, unless someone has leased it before.
 */
export async function removeImages(
  removals: readonly PlannedRemoval[],
  { namespaceOf, imageHost, planned, collect, onRemoved }: RemovalOptions,
  signal: AbortSignal,
): Promise<readonly PlannedRemoval[]> {
  const removed: PlannedRemoval[] = [];
  let collected = 0;
  for (const org of new Set(removals.map(({ image }) => image.org))) {
    const all = removals.filter(({ image }) => image.org === org);
    const ns = namespaceOf(org);
    for (let from = 0; from < all.length; from += batchSize) {
      if (removed.length > 0) await sleep(pauseMs, undefined, { signal });
      const batch = await stillPlanned(ns, { org, imageHost }, all.slice(from, from + batchSize), planned, signal);
      for (const removal of batch) if (await removeRecord(ns, removal, signal)) removed.push(removal);
      onRemoved?.(removed.length);
      if (removed.length - collected < collectEvery) continue;
      collected = removed.length;
      await collectAndPause(collect, signal);
    }
  }
  return removed;
}

async function collectAndPause(collect: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const startedAtMs = Date.now();
  await collect();
  await sleep(Math.min((Date.now() - startedAtMs) * pausePerCollection, longestPauseMs), undefined, { signal });
}

async function stillPlanned(
  ns: ContainerdNamespace,
  org: OrgOnHost,
  batch: readonly PlannedRemoval[],
  planned: Omit<PlanInput, "host">,
  signal: AbortSignal,
): Promise<readonly PlannedRemoval[]> {
  const { remove } = planPrune({ ...planned, host: await readOrgImages(ns, org, signal) });
  const now = new Map(remove.map(({ image }) => [image.name, image]));
  return batch.filter(({ image }) => {
    const found = now.get(image.name);
    return found?.digest === image.digest && found.changedAtMs === image.changedAtMs;
  });
}

async function removeRecord(ns: ContainerdNamespace, { image }: PlannedRemoval, signal: AbortSignal): Promise<boolean> {
  const { name, mediaType, digest, sizeBytes } = image;
  return deleteImageOf(ns, { name, target: { mediaType, digest, size: sizeBytes } }, signal);
}
