import { BoundedMap } from "../../config/bounded-map.ts";
import type { ContainerdNamespace } from "../../containerd/client.ts";
import { getImage, labelImage } from "../../containerd/images.ts";
import type { Labels } from "../../containerd/labels.ts";
import type { MirrorLog } from "../unpack/unpack-pushed.ts";

const fetchedLabel = "slipway.fetched";
const usedLabel = "slipway.used";

/**
 * Labels of an image record that keeps what was fetched from elsewhere: it may go when nobody has asked for it for a while, as it can be
 * fetched again. `from` says where it was fetched, for people.
 */
export const fetchedLabels = (from: string, usedAtMs: number): Labels => ({
  [fetchedLabel]: from.slice(0, 1000),
  [usedLabel]: new Date(usedAtMs).toISOString(),
});

/** When it was last asked for; undefined for a record of what was not fetched. */
export function lastUseOfFetched(labels: Labels): number | undefined {
  if (labels[fetchedLabel] === undefined) return undefined;
  const usedAtMs = Date.parse(labels[usedLabel] ?? "");
  return Number.isNaN(usedAtMs) ? 0 : usedAtMs;
}

/** For a record that was pushed to, whatever it was before: a label without a value is removed. */
export const notFetched: Labels = { [fetchedLabel]: "", [usedLabel]: "" };

/** A use says no more than the one before it for so long: a build reads its base images often. */
const sameUseMs = 60 * 60_000;
const mostNoted = 1_000;

export type Uses = {
  /** In the background: whoever reads waits for nothing, and a note that cannot be made is a line in the log. */
  noteUse(imageName: string): void;
};

/** Notes in the records of what was fetched when it was used last. */
export function createUses({ ns, org, log }: { readonly ns: ContainerdNamespace; readonly org: string; readonly log: MirrorLog }): Uses {
  const notedAtMs = new BoundedMap<string, number>(mostNoted);

  async function note(name: string, nowMs: number): Promise<void> {
    const signal = AbortSignal.timeout(10_000);
    const record = await getImage(ns, name, signal);
    if (record === undefined) return;
    const lastUseMs = lastUseOfFetched(record.labels);
    if (lastUseMs === undefined || nowMs - lastUseMs < sameUseMs) return;
    await labelImage(ns, record, { [usedLabel]: new Date(nowMs).toISOString() }, signal);
  }

  return {
    noteUse(imageName) {
      const nowMs = Date.now();
      if (nowMs - (notedAtMs.get(imageName) ?? 0) < sameUseMs) return;
      notedAtMs.set(imageName, nowMs);
      note(imageName, nowMs).catch((error: unknown) => log.warn({ err: error, org, image: imageName }, "cannot note the use of an image"));
    },
  };
}
