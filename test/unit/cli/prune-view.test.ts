import { describe, expect, it } from "vitest";
import { pruneJson, pruneLines } from "../../../cli/render/prune.ts";
import { digestOf } from "../../../oci/digest.ts";
import type { PruneReport } from "../../../workflows/prune-types.ts";

const digest = digestOf("image");
const report: PruneReport = {
  host: "h1",
  dryRun: true,
  freeBytes: 3 * 1024 ** 3,
  lowDisk: false,
  removed: 2,
  kept: 1,
  freedBytes: 3000,
  abortedIngests: 0,
  removals: [{ org: "acme", name: "r/acme/web:run-1", digest, reason: "no release", freedBytes: 3000 }],
  keeps: [{ org: "acme", name: "r/acme/web:run-2", digest, reason: "live release" }],
};

describe("what a prune did", () => {
  it("is a table of what would go and what stays, with reasons", () => {
    expect(pruneLines(report)).toEqual([
      "          IMAGE             REASON        FREES",
      "would go  r/acme/web:run-1  no release    2.9 KiB",
      "kept      r/acme/web:run-2  live release",
      "",
      "and 1 more",
      "",
      "2 would go (2.9 KiB), 1 kept; 3.00 GiB free before",
    ]);
  });

  it("says what was done, on a disk that was short, and what dead writers had left", () => {
    const done = { ...report, dryRun: false, removed: 1, lowDisk: true, abortedIngests: 2 };
    expect(pruneLines(done)[1]).toMatch(/^removed /);
    expect(pruneLines(done).slice(-2)).toEqual([
      "1 removed (2.9 KiB), 1 kept; 3.00 GiB free before: the disk is short",
      "abandoned ingests aborted: 2",
    ]);
    expect(pruneLines({ ...report, removed: 0, kept: 0, removals: [], keeps: [], freedBytes: 0 })).toHaveLength(1);
  });

  it("has its names in JSON", () => {
    expect(pruneJson(report)).toMatchObject({
      dry_run: true,
      freed_bytes: 3000,
      removals: [{ org: "acme", reason: "no release", freed_bytes: 3000 }],
      keeps: [{ reason: "live release", digest }],
    });
  });
});
