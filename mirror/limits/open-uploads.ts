import { DistributionError } from "../../oci/errors.ts";
import { createCounts } from "./counts.ts";

export type OpenUploads = {
  /** Counts an upload of the org until its disposal. @throws DistributionError TOOMANYREQUESTS */
  open(org: string): Disposable;
};

export type OpenUploadsOptions = {
  readonly perOrg: number;
  /** of all orgs together: one that waits holds half a mebibyte, in its socket and on its way here; 96 */
  readonly all?: number;
  /** so many an org may always open, however many the others have; 8 */
  readonly share?: number;
};

const retryAfterSeconds = 5;

export function createOpenUploads({ perOrg, all = 96, share = 8 }: OpenUploadsOptions): OpenUploads {
  const counts = createCounts();
  return {
    open(org) {
      const ofOrg = counts.of(org);
      if (ofOrg >= perOrg || (counts.total >= all && ofOrg >= Math.min(share, perOrg))) {
        throw new DistributionError("TOOMANYREQUESTS", { openUploads: ofOrg, allowed: Math.min(perOrg, all), retryAfterSeconds });
      }
      return counts.add(org);
    },
  };
}
