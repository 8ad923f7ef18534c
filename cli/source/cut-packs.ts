import { createHash } from "node:crypto";
import type { SourceEntry } from "./list-source.ts";
import { paddingOf, tarBlockBytes } from "./tar-header.ts";

/** Bytes of the source's tar that travel together. */
export type PackPart =
  /** whole entries, headers and all */
  | { readonly kind: "entries"; readonly entries: readonly SourceEntry[] }
  /** a part of one large file; the first has its header before it, the last its padding behind it */
  | { readonly kind: "part"; readonly entry: SourceEntry & { kind: "file" }; readonly first: number; readonly lengthBytes: number };

export type PackPlan = {
  readonly part: PackPart;
  /** the end of the tar comes behind it */
  readonly isLast: boolean;
};

/** A file from this size on travels in packs of its own, in parts of so many bytes. */
export const largeFileBytes = 8 * 1024 * 1024;

/** What packs of small files have on average. */
const averageBytes = 1024 * 1024;
/** Never reached by names that nobody chose for it: the chance is that of 64 times in a row not throwing one of e. */
const mostBytes = 64 * averageBytes;
/** Of each kind a source has so many packs at most, about: each costs the registry a look. */
const wantedPacks = 2000;

/**
 * Cuts the tar of a source into packs, so that a file that is changed, added or removed changes one or two of them: whether a pack ends
 * behind an entry depends on that entry's path and size alone, the larger the likelier. Packs of huge sources are larger.
 */
export function cutPacks(entries: readonly SourceEntry[]): PackPlan[] {
  const average = sizeFor(averageBytes, entries, isSmall);
  const partBytes = sizeFor(largeFileBytes, entries, isLarge);
  const parts: PackPart[] = [];
  let run: SourceEntry[] = [];
  let runBytes = 0;
  const endRun = (): void => {
    if (run.length > 0) parts.push({ kind: "entries", entries: run });
    [run, runBytes] = [[], 0];
  };
  for (const entry of entries) {
    if (isLarge(entry)) {
      endRun();
      for (let first = 0; first < entry.sizeBytes; first += partBytes)
        parts.push({ kind: "part", entry, first, lengthBytes: Math.min(partBytes, entry.sizeBytes - first) });
      continue;
    }
    const sizeBytes = tarSizeOf(entry);
    run.push(entry);
    runBytes += sizeBytes;
    if (endsPack(entry.path, sizeBytes / average) || runBytes > mostBytes) endRun();
  }
  endRun();
  if (parts.length === 0) parts.push({ kind: "entries", entries: [] });
  return parts.map((part, index) => ({ part, isLast: index === parts.length - 1 }));
}

const isLarge = (entry: SourceEntry): entry is SourceEntry & { kind: "file" } => entry.kind === "file" && entry.sizeBytes >= largeFileBytes;
const isSmall = (entry: SourceEntry): boolean => !isLarge(entry);

const contentSizeOf = (entry: SourceEntry): number => (entry.kind === "file" ? entry.sizeBytes + paddingOf(entry.sizeBytes) : 0);

/** A long name's record does not count: a cut need not be exact. */
const tarSizeOf = (entry: SourceEntry): number => tarBlockBytes + contentSizeOf(entry);

/** In steps of two, so that a source that grows is cut anew as a whole hardly ever. */
function sizeFor(leastBytes: number, entries: readonly SourceEntry[], counts: (entry: SourceEntry) => boolean): number {
  const sumBytes = entries.reduce((sum, entry) => sum + (counts(entry) ? tarSizeOf(entry) : 0), 0);
  let sizeBytes = leastBytes;
  while (sumBytes / sizeBytes > wantedPacks) sizeBytes *= 2;
  return sizeBytes;
}

function endsPack(path: string, chance: number): boolean {
  return chance >= 1 || createHash("sha1").update(path).digest().readUInt32BE(0) < chance * 2 ** 32;
}
