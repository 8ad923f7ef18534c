import type { Damage, ScrubReport } from "../../workflows/types.ts";

export type { Damage, ScrubReport } from "../../workflows/types.ts";

/** more than anybody reads, and few enough for a heartbeat and a history */
export const mostDamagesKept = 100;

export const nothingScrubbed: ScrubReport = { blobs: 0, bytes: 0, links: 0, manifests: 0, tags: 0, damaged: 0, damages: [] };

export function addReports(a: ScrubReport, b: Partial<ScrubReport>): ScrubReport {
  return {
    blobs: a.blobs + (b.blobs ?? 0),
    bytes: a.bytes + (b.bytes ?? 0),
    links: a.links + (b.links ?? 0),
    manifests: a.manifests + (b.manifests ?? 0),
    tags: a.tags + (b.tags ?? 0),
    damaged: a.damaged + (b.damaged ?? 0),
    damages: [...a.damages, ...(b.damages ?? [])].slice(0, mostDamagesKept),
  };
}

export function damageReport(damage: Damage): Partial<ScrubReport> {
  return { damaged: 1, damages: [damage] };
}
