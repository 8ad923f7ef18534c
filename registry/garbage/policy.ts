import { abandonedMs } from "../blobs/record-life.ts";

/** What one pass goes by; it stays the same for all of the pass, whatever is done again after a crash. */
export type GarbagePolicy = {
  /** how long something must be unreferenced before it is condemned, and be condemned before it is removed */
  readonly graceMs: number;
  /** before the pass looked at anything; kept over crashes */
  readonly passStartedAtMs: number;
  /** tells what would be done and changes nothing */
  readonly dryRun: boolean;
};

/** From this age on a record may have to be dealt with; whether it has is in the record. */
export function youngestCandidateMs({ passStartedAtMs, graceMs }: GarbagePolicy): number {
  return passStartedAtMs - Math.min(graceMs, abandonedMs);
}
