import { describe, expect, it } from "vitest";
import { garbageJson, garbageLines } from "../../../cli/render/garbage.ts";
import { scrubHints, scrubJson, scrubLines } from "../../../cli/render/scrub.ts";
import type { Damage, GarbageReport, ScrubReport } from "../../../workflows/types.ts";

const counts = { condemned: 2, condemnedBytes: 3000, removed: 1, removedBytes: 512, damaged: 0 };
const garbage: GarbageReport = { dryRun: true, repositories: 1, links: counts, blobs: { ...counts, damaged: 1 }, strays: 4 };
const damage: Damage = { kind: "blob bytes", key: "bytes/a", expected: "sha256:a, 3 bytes", found: "nothing", quarantined: false };
const scrub: ScrubReport = { blobs: 2, bytes: 2048, links: 3, manifests: 1, tags: 1, damaged: 1, damages: [damage] };

describe("what a pass of the garbage collection did", () => {
  it("is a table with what was left alone", () => {
    expect(garbageLines(garbage)).toEqual([
      "1 repository; dry run, nothing was changed",
      "",
      "                       CONDEMNED  SIZE     REMOVED  SIZE",
      "blobs of repositories  2          2.9 KiB  1        512 B",
      "bytes                  2          2.9 KiB  1        512 B",
      "",
      "stray bytes found: 4",
      "1 damaged record was left alone: slipway registry scrub",
    ]);
  });

  it("has its names in JSON", () => {
    expect(garbageJson(garbage)).toMatchObject({ dry_run: true, blobs: { condemned_bytes: 3000, damaged: 1 }, stray_bytes_objects: 4 });
  });
});

describe("what a scrub found", () => {
  it("is named with key, expected and found", () => {
    expect(scrubLines({ ...scrub, damaged: 3 })).toEqual([
      "2 blobs (2.0 KiB), 3 blobs of repositories, 1 manifests, 1 tags: 3 damaged",
      "",
      "blob bytes bytes/a",
      "  expected: sha256:a, 3 bytes",
      "  found:    nothing",
      "",
      "and 2 more",
    ]);
    expect(scrubJson(scrub)).toMatchObject({ repository_blobs: 3, damages: [{ key: "bytes/a", quarantined: false }] });
  });

  it("comes with the next command, and with none when there is nothing to mend", () => {
    expect(scrubHints(scrub).at(-1)).toContain("slipway registry scrub --quarantine");
    expect(scrubHints({ ...scrub, damages: [{ ...damage, quarantined: true }] }).at(-1)).toContain("Push these images again");
    expect(scrubHints({ ...scrub, damaged: 0, damages: [] })).toEqual([]);
  });
});
