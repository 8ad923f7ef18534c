import type { Settings } from "./settings.ts";

const hourMs = 60 * 60_000;

/** How a host's images are pruned where the settings do not say. */
export const defaultPruneSettings = { everyMs: hourMs, keepReleases: 3, keepForMs: hourMs, keepUnusedForMs: 7 * 24 * hourMs };

export type PruneSettings = typeof defaultPruneSettings & { readonly lowDiskBytes?: number };

export function pruneSettings({ prune }: Settings): PruneSettings {
  const { lowDiskBytes, ...times } = prune ?? {};
  const given = Object.fromEntries(Object.entries(times).filter(([, value]) => value !== undefined));
  return { ...defaultPruneSettings, ...given, ...(lowDiskBytes === undefined ? {} : { lowDiskBytes }) };
}
