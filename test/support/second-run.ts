import type { Lane, LaneOutcome } from "./vitest-lane.ts";

export type LaneResult = LaneOutcome & {
  readonly lane: Lane;
  /** what failed at first and passed alone */
  readonly unstable: readonly string[];
};

/** More failed files than these are no accident of timing. */
const mostFiles = 3;

/** The files to run once more, alone, when only a few failed (docs/adr/0028); none when more did. */
export function failedFiles(results: readonly LaneResult[]): ReadonlyMap<Lane, readonly string[]> {
  const failed = results.map(
    ({ lane, files }) => [lane, files.filter(({ failures }) => failures.length > 0).map(({ file }) => file)] as const,
  );
  const count = failed.reduce((total, [, files]) => total + files.length, 0);
  return new Map(count > mostFiles ? [] : failed.filter(([, files]) => files.length > 0));
}

/** The second run decides about the files that it ran; what it mended is named. */
export function withSecondRun(first: LaneResult, second: LaneOutcome): LaneResult {
  const decided = new Map(second.files.map((file) => [file.file, file]));
  const files = first.files.map((file) => decided.get(file.file) ?? file);
  const unstable = first.files
    .filter(({ file, failures }) => failures.length > 0 && decided.get(file)?.failures.length === 0)
    .flatMap(({ failures }) => failures);
  return { ...first, files, besideFiles: [...first.besideFiles, ...second.besideFiles], unstable };
}
