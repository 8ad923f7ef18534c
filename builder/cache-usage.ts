import { type Buildkit, openBuildkit } from "./buildkit/client.ts";

export type CacheUsage = {
  readonly records: number;
  readonly sizeBytes: number;
  /** what a prune of everything would leave, as a build uses it now */
  readonly inUseBytes: number;
};

export type PruneOptions = {
  /** also what BuildKit keeps for itself: frontends, internal records */
  readonly all: boolean;
  /** what was used within this time stays */
  readonly keepForMs?: number;
  /** least recently used records go until this much is left */
  readonly keepBytes?: number;
};

export type PruneResult = { readonly records: number; readonly freedBytes: number };

/** What buildkitd itself says of its cache. */
export async function cacheUsage(buildkit: Buildkit, signal: AbortSignal): Promise<CacheUsage> {
  const { record } = await buildkit.control.diskUsage({}, { signal });
  const inUse = record.filter(({ InUse }) => InUse);
  const sizeOf = (records: typeof record) => records.reduce((sum, { Size }) => sum + Number(Size), 0);
  return { records: record.length, sizeBytes: sizeOf(record), inUseBytes: sizeOf(inUse) };
}

/** BuildKit's own prune; what builds use meanwhile stays. It ends with the signal, what is gone by then is gone. */
export async function pruneCache(
  address: string,
  { all, keepForMs = 0, keepBytes = 0 }: PruneOptions,
  signal: AbortSignal,
): Promise<PruneResult> {
  using buildkit = openBuildkit(address);
  const result = { records: 0, freedBytes: 0 };
  // a duration of Go: nanoseconds
  const keepDuration = BigInt(keepForMs) * 1_000_000n;
  for await (const record of buildkit.control.prune({ all, keepDuration, maxUsedSpace: BigInt(keepBytes) }, { signal })) {
    result.records += 1;
    result.freedBytes += Number(record.Size);
  }
  return result;
}
