import { z } from "zod";

/** Where the bytes of a digest are. */
export type BlobRecord = { readonly key: string; readonly sizeBytes: number };

/**
 * The life of a link or digest record. Only conditional writes change it:
 *
 *   live ──collector: nothing refers to it──▶ condemned ──collector, a grace later: still nothing──▶ dying ──▶ gone
 *    ▲                                           │                                                      │
 *    ├────────pusher: before it relies on it─────┘                                                      │
 *    └────────pusher: when the collector died in the middle (`abandonedMs`)─────────────────────────────┘
 *
 * quarantined: its bytes were found damaged. It counts as absent, and whoever brings the bytes again replaces it. docs/races.md has every
 * order in which pushers and collectors can meet.
 */
export type RecordLife = { readonly state: "live" } | { readonly state: "condemned" | "dying" | "quarantined"; readonly atMs: number };

export type LivingRecord = { readonly record: BlobRecord; readonly life: RecordLife };

export const live: RecordLife = { state: "live" };

/** a collector ends what it has begun within {@link removalMs}; after this long it is dead, and whoever comes next takes over */
export const abandonedMs = 10 * 60_000;
/** how long after a record was marked as dying its collector may still delete it */
export const removalMs = 2 * 60_000;

const mark = z.object({ atMs: z.number() }).optional();
/** As it is stored; a record of an older version has no mark and is live. */
const storedRecord = z.object({
  key: z.string(),
  sizeBytes: z.number().int().nonnegative(),
  condemned: mark,
  dying: mark,
  quarantined: mark,
});

/** @throws ZodError when it is none of ours. */
export function parseLivingRecord(json: unknown): LivingRecord {
  const { key, sizeBytes, ...marks } = storedRecord.parse(json);
  return { record: { key, sizeBytes }, life: lifeOf(marks) };
}

export function formatLivingRecord({ record: { key, sizeBytes }, life }: LivingRecord): object {
  return { key, sizeBytes, ...(life.state === "live" ? {} : { [life.state]: { atMs: life.atMs } }) };
}

function lifeOf(marks: Omit<z.infer<typeof storedRecord>, "key" | "sizeBytes">): RecordLife {
  for (const state of ["dying", "quarantined", "condemned"] as const) {
    const found = marks[state];
    if (found !== undefined) return { state, atMs: found.atMs };
  }
  return live;
}

export type PusherPlan = "take" | "revive" | "wait" | "replace";

/** What somebody does who is about to rely on a record. */
export function planForPusher(life: RecordLife, nowMs: number): PusherPlan {
  switch (life.state) {
    case "live":
      return "take";
    case "condemned":
      return "revive";
    case "dying":
      return isAbandoned(life.atMs, nowMs) ? "replace" : "wait";
    case "quarantined":
      return "replace";
  }
}

export type CollectorPlan = "keep" | "condemn" | "remove";

/**
 * What a pass does with a record that it found unreferenced.
 * @param changedAtMs when the record was last written, or made live again
 * @param passStartedAtMs before anything was looked at: only what was condemned a grace before is removed
 */
export function planForCollector(
  { life, changedAtMs }: { life: RecordLife; changedAtMs: number },
  { passStartedAtMs, graceMs }: { passStartedAtMs: number; graceMs: number },
): CollectorPlan {
  const isPastGrace = (atMs: number) => atMs <= passStartedAtMs - graceMs;
  switch (life.state) {
    case "live":
      return isPastGrace(changedAtMs) ? "condemn" : "keep";
    case "condemned":
    case "quarantined":
      return isPastGrace(life.atMs) ? "remove" : "keep";
    case "dying":
      return isAbandoned(life.atMs, passStartedAtMs) ? "remove" : "keep";
  }
}

const isAbandoned = (atMs: number, nowMs: number): boolean => atMs <= nowMs - abandonedMs;
