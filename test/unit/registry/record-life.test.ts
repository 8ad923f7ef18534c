import { describe, expect, it } from "vitest";
import {
  type RecordLife,
  abandonedMs,
  formatLivingRecord,
  live,
  parseLivingRecord,
  planForCollector,
  planForPusher,
} from "../../../registry/blobs/record-life.ts";

const nowMs = 1_000_000_000_000;
const graceMs = 24 * 60 * 60_000;
const record = { key: "bytes/a", sizeBytes: 3 };
const since = (state: "condemned" | "dying" | "quarantined", ageMs: number): RecordLife => ({ state, atMs: nowMs - ageMs });

describe("record life", () => {
  it("takes a record of an older version, which has no mark, for live", () => {
    expect(parseLivingRecord(record)).toEqual({ record, life: live });
  });

  it.each([live, since("condemned", 5), since("dying", 5), since("quarantined", 5)])("reads back $state as it was written", (life) => {
    expect(parseLivingRecord(JSON.parse(JSON.stringify(formatLivingRecord({ record, life }))))).toEqual({ record, life });
  });

  it("takes a record with two marks for the one that nobody may rely on", () => {
    expect(parseLivingRecord({ ...record, condemned: { atMs: 1 }, dying: { atMs: 2 } }).life).toEqual({ state: "dying", atMs: 2 });
  });

  it.each([
    [live, "take"],
    [since("condemned", 10 * graceMs), "revive"],
    [since("dying", abandonedMs - 1), "wait"],
    [since("dying", abandonedMs), "replace"],
    [since("quarantined", 0), "replace"],
  ] as const)("plans for a pusher that meets %j: %s", (life, plan) => {
    expect(planForPusher(life, nowMs)).toBe(plan);
  });

  it.each([
    [live, graceMs - 1, "keep"],
    [live, graceMs, "condemn"],
    [since("condemned", graceMs - 1), 0, "keep"],
    [since("condemned", graceMs), 0, "remove"],
    [since("quarantined", graceMs - 1), 2 * graceMs, "keep"],
    [since("quarantined", graceMs), 0, "remove"],
    [since("dying", abandonedMs - 1), 2 * graceMs, "keep"],
    [since("dying", abandonedMs), 0, "remove"],
  ] as const)("plans for a collector that finds %j unreferenced, changed %i ms ago: %s", (life, changedAgoMs, plan) => {
    expect(planForCollector({ life, changedAtMs: nowMs - changedAgoMs }, { passStartedAtMs: nowMs, graceMs })).toBe(plan);
  });

  it("never removes what was condemned since the pass began, by whichever clock of a grace's accuracy", () => {
    const life = { state: "condemned", atMs: nowMs + 1 } as const;
    expect(planForCollector({ life, changedAtMs: 0 }, { passStartedAtMs: nowMs, graceMs: 0 })).toBe("keep");
  });
});
