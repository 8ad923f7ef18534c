import type { Labels } from "../../containerd/labels.ts";

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
