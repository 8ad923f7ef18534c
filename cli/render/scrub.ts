import type { ScrubReport } from "../../workflows/types.ts";
import { sizeOf } from "./table.ts";

export function scrubLines({ blobs, bytes, links, manifests, tags, damaged, damages }: ScrubReport): string[] {
  return [
    `${blobs} blobs (${sizeOf(bytes)}), ${links} blobs of repositories, ${manifests} manifests, ${tags} tags: ${damaged === 0 ? "sound" : `${damaged} damaged`}`,
    ...damages.flatMap(({ kind, key, expected, found, quarantined }) => [
      "",
      `${kind} ${key}${quarantined ? " (quarantined)" : ""}`,
      `  expected: ${expected}`,
      `  found:    ${found}`,
    ]),
    ...(damaged > damages.length ? ["", `and ${damaged - damages.length} more`] : []),
  ];
}

/** How what is damaged becomes sound again. */
export function scrubHints({ damages }: ScrubReport): string[] {
  const blobs = damages.filter(({ kind }) => kind === "blob bytes");
  if (blobs.length === 0) return [];
  if (blobs.every(({ quarantined }) => quarantined))
    return ["", "Push these images again: what is quarantined counts as absent until then"];
  return ["", "Try: slipway registry scrub --quarantine, then push these images again"];
}

export function scrubJson({ blobs, bytes, links, manifests, tags, damaged, damages }: ScrubReport): Record<string, unknown> {
  return { blobs, bytes, repository_blobs: links, manifests, tags, damaged, damages };
}
