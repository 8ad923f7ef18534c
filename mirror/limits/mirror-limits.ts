import { orgNamespace } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import type { Containerd } from "../../containerd/client.ts";
import { containerdRoots } from "../../containerd/roots.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type BodyTurns, createBodyTurns } from "./body-turns.ts";
import { createByteRate } from "./byte-rate.ts";
import { createConnectionCounts } from "./connection-counts.ts";
import { type FreeSpace, createFreeSpace, unboundedSpace } from "./free-space.ts";
import { createOpenUploads } from "./open-uploads.ts";
import { type OrgLimits, createOrgLimits } from "./org-limits.ts";
import { createOrgQuota } from "./org-quota.ts";
import { createOrgUsage } from "./org-usage.ts";

/** The limits of one mirror: what all orgs share, and how each gets its own. */
export type MirrorLimits = {
  readonly space: FreeSpace;
  /** Once for each org: they count. */
  of(org: string): OrgLimits;
};

export type MirrorLimitsOptions = {
  readonly containerd: Containerd;
  /** absent: containerd alone says when its disk is full */
  readonly space?: FreeSpace;
  readonly settings?: Settings["mirror"]["limits"];
  readonly turns?: BodyTurns;
};

export function createMirrorLimits(options: MirrorLimitsOptions): MirrorLimits {
  const { containerd, space = unboundedSpace, settings = {}, turns = createBodyTurns() } = options;
  const { orgBytes, orgBytesPerSecond, orgUploads = 64, orgConnections = 512, clientConnections = 384 } = settings;
  const uploads = createOpenUploads({ perOrg: orgUploads });
  const quotaOf = (org: string) =>
    orgBytes === undefined ? {} : { quota: createOrgQuota(createOrgUsage(containerd.namespace(orgNamespace(org))), orgBytes) };
  return {
    space,
    of: (org) =>
      createOrgLimits({
        org,
        uploads,
        turns,
        space,
        connections: createConnectionCounts({ orgConnections, clientConnections }),
        ...(orgBytesPerSecond === undefined ? {} : { rate: createByteRate(orgBytesPerSecond) }),
        ...quotaOf(org),
      }),
  };
}

export type SpaceOptions = { readonly containerd: Containerd; readonly snapshotter: string; readonly freeBytes?: number };

/** The floor under the disks of containerd; none where it is switched off. @throws Error when they cannot be found or seen */
export async function openFreeSpace({ containerd, snapshotter, freeBytes }: SpaceOptions, signal: AbortSignal): Promise<FreeSpace> {
  if (freeBytes === 0) return unboundedSpace;
  const remedy = "set mirror.limits.freeBytes to 0 to do without";
  const roots = await containerdRoots(containerd, snapshotter, signal);
  if (roots.length === 0) {
    throw new Error(`Cannot watch the disk of containerd at "${containerd.socket}": it names no folder of its content; ${remedy}`);
  }
  const space = createFreeSpace(roots, freeBytes);
  try {
    await space.require(signal);
  } catch (error) {
    // one that is full now may be emptied
    if (error instanceof DistributionError) return space;
    throw new Error(`Cannot watch the disk of containerd at "${containerd.socket}": ${(error as Error).message}; ${remedy}`, {
      cause: error,
    });
  }
  return space;
}
