import { describe, expect, it } from "vitest";
import type { FileOutcome } from "../../support/read-report.ts";
import { type LaneResult, failedFiles, withSecondRun } from "../../support/second-run.ts";

describe("the second run of a few failed test files", () => {
  it("takes the failed files of each lane", () => {
    const result = laneResult([file("a", []), file("b", ["b > hop"])]);
    expect(failedFiles([laneResult([file("c", [])]), result])).toEqual(new Map([[result.lane, ["b"]]]));
  });

  it("takes none when many failed", () => {
    const result = laneResult(["a", "b", "c", "d"].map((name) => file(name, [`${name} > hop`])));
    expect(failedFiles([result]).size).toBe(0);
  });

  it("names what passed alone and counts its tests", () => {
    const first = laneResult([file("a", [], 4), file("b", ["b > hop"], 1)]);
    const merged = withSecondRun(first, laneResult([file("b", [], 2)]));
    expect(merged.unstable).toEqual(["b > hop"]);
    expect(merged.files).toEqual([file("a", [], 4), file("b", [], 2)]);
  });

  it("keeps as failed what fails alone too, or what did not run again", () => {
    const first = laneResult([file("a", ["a > hop"]), file("b", ["b > hop"])]);
    const merged = withSecondRun(first, { ...laneResult([file("a", ["a > once more"])]), besideFiles: ["no set-up"] });
    expect(merged.unstable).toEqual([]);
    expect(merged.files.flatMap(({ failures }) => failures)).toEqual(["a > once more", "b > hop"]);
    expect(merged.besideFiles).toEqual(["no set-up"]);
  });
});

function laneResult(files: readonly FileOutcome[]): LaneResult {
  return { lane: { projects: ["unit"] }, files, besideFiles: [], output: "", unstable: [] };
}

function file(name: string, failures: readonly string[], passed = 0): FileOutcome {
  return { file: name, passed, failures };
}
