import { setTimeout as sleep } from "node:timers/promises";
import type { ContainerdNamespace } from "../../containerd/client.ts";
import { deleteImageOf } from "../../containerd/images.ts";
import type { OrgOnHost } from "./org-images.ts";
import { readOrgImages } from "./org-images.ts";
import { type PlanInput, type PlannedRemoval, planPrune } from "./plan.ts";

const batchSize = 16;
/** Each removal is a write in containerd's one database: deploys go first. */
const pauseMs = 50;

export type RemovalOptions = {
  readonly namespaceOf: (org: string) => ContainerdNamespace;
  readonly imageHost: string;
  /** what the plan was made from */
  readonly planned: Omit<PlanInput, "host">;
  readonly onRemoved?: (count: number) => void;
};

/**
 * Removes the planned records, a few at a time, and answers which. Before each batch the plan is made anew from what the org has by then.
 * Their content goes with the next garbage collection, unless someone has leased it before.
 */
export async function removeImages(
  removals: readonly PlannedRemoval[],
  { namespaceOf, imageHost, planned, onRemoved }: RemovalOptions,
  signal: AbortSignal,
): Promise<readonly PlannedRemoval[]> {
  const removed: PlannedRemoval[] = [];
  for (const org of new Set(removals.map(({ image }) => image.org))) {
    const all = removals.filter(({ image }) => image.org === org);
    const ns = namespaceOf(org);
    for (let from = 0; from < all.length; from += batchSize) {
      if (removed.length > 0) await sleep(pauseMs, undefined, { signal });
      const batch = await stillPlanned(ns, { org, imageHost }, all.slice(from, from + batchSize), planned, signal);
      for (const removal of batch) if (await removeRecord(ns, removal, signal)) removed.push(removal);
      onRemoved?.(removed.length);
    }
  }
  return removed;
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
