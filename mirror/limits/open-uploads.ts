import { DistributionError } from "../../oci/errors.ts";

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
  const open = new Map<string, number>();
  let total = 0;
  return {
    open(org) {
      const ofOrg = open.get(org) ?? 0;
      if (ofOrg >= perOrg || (total >= all && ofOrg >= Math.min(share, perOrg))) {
        throw new DistributionError("TOOMANYREQUESTS", { openUploads: ofOrg, allowed: Math.min(perOrg, all), retryAfterSeconds });
      }
      open.set(org, ofOrg + 1);
      total += 1;
      let over = false;
      return {
        [Symbol.dispose]() {
          if (over) return;
          over = true;
          total -= 1;
          const left = open.get(org)! - 1;
          if (left === 0) open.delete(org);
          else open.set(org, left);
        },
      };
    },
  };
}
