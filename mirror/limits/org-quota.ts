import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { OrgUsage } from "./org-usage.ts";

/** What an org may store, with what it is just sending. */
export type OrgQuota = {
  /** @throws DistributionError QUOTA_EXCEEDED when so many bytes more are too many; containerd is asked before anybody is refused */
  require(moreBytes: number, signal: AbortSignal): Promise<void>;
  /** Undefined when these bytes of an upload surely fit, else a promise that answers as `require` does. */
  arriving(sizeBytes: number, signal: AbortSignal): Promise<void> | undefined;
  /** So many bytes are no longer on their way: their upload is over. */
  gone(sizeBytes: number): void;
  stored(digest: Digest, sizeBytes: number): void;
};

export function createOrgQuota(usage: OrgUsage, allowedBytes: number): OrgQuota {
  let arrivingBytes = 0;

  async function require(moreBytes: number, signal: AbortSignal): Promise<void> {
    const known = usage.bytes;
    if (known !== undefined && known + arrivingBytes + moreBytes <= allowedBytes) return;
    const usedBytes = (await usage.count(signal)) + arrivingBytes;
    if (usedBytes + moreBytes > allowedBytes) throw new DistributionError("QUOTA_EXCEEDED", { usedBytes, moreBytes, allowedBytes });
  }

  return {
    require,
    arriving(sizeBytes, signal) {
      arrivingBytes += sizeBytes;
      if (usage.bytes !== undefined && usage.bytes + arrivingBytes <= allowedBytes) return undefined;
      return require(0, signal);
    },
    gone(sizeBytes) {
      arrivingBytes -= sizeBytes;
    },
    stored: (digest, sizeBytes) => usage.added(digest, sizeBytes),
  };
}
