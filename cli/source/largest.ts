import type { SourceEntry } from "./list-source.ts";

export type Large = { readonly path: string; readonly sizeBytes: number };

const mostNamed = 3;
/** Below this share of the whole nothing is worth a name. */
const leastShare = 0.1;

/**
 * The folders and files that make a source large, largest first. A folder stands for what is in it, unless nearly all of it is in one
 * thing beneath: then that is named.
 */
export function largestOf(entries: readonly SourceEntry[]): Large[] {
  const sizes = new Map<string, number>();
  let totalBytes = 0;
  for (const entry of entries) {
    if (entry.kind !== "file") continue;
    totalBytes += entry.sizeBytes;
    for (let end = entry.path.length; end > 0; end = entry.path.lastIndexOf("/", end - 1)) {
      const name = entry.path.slice(0, end);
      sizes.set(name, (sizes.get(name) ?? 0) + entry.sizeBytes);
    }
  }
  const large = [...sizes].filter(([, sizeBytes]) => sizeBytes >= totalBytes * leastShare);
  const named = large
    .filter(([name, sizeBytes]) => !large.some(([other, below]) => other.startsWith(`${name}/`) && below >= 0.9 * sizeBytes))
    .sort(([, left], [, right]) => right - left)
    .map(([path, sizeBytes]) => ({ path, sizeBytes }));
  // what lies within another that is named adds nothing
  return named.filter(({ path }) => !named.some((other) => path.startsWith(`${other.path}/`))).slice(0, mostNamed);
}
