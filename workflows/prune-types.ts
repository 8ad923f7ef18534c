import type { Digest } from "../oci/digest.ts";
import type { Repository } from "../oci/repository.ts";
import type { Release } from "./types.ts";

/** What a prune of a host's images goes by. */
export type PrunePolicy = {
  /** how many releases of each app keep their image beside the live one: a quick way back */
  readonly keepReleases: number;
  /** what changed more recently is left alone: by far longer than it takes until Temporal lists a run that began */
  readonly keepForMs: number;
  /** how long images stay that were fetched from elsewhere, after their last use, and others after their tag was moved or deleted */
  readonly keepUnusedForMs: number;
  /** with less free on containerd's disk both times shrink to 10 minutes; absent: a tenth of the disk, at most 10 GiB */
  readonly lowDiskBytes?: number;
};

export type PruneHostInput = { readonly host: string; readonly dryRun: boolean; readonly policy: PrunePolicy };

/** What the control plane knows of the images of a host. */
export type ImageClaims = {
  /** of each app the live release and the retained ones */
  readonly releases: readonly {
    readonly org: string;
    readonly app: string;
    readonly version: number;
    readonly live: boolean;
    readonly image: Release["image"];
  }[];
  /** what the tags of images begin with that open runs push */
  readonly openRunTags: readonly string[];
  /** images on their way to upstream */
  readonly replicating: readonly { readonly repository: Repository; readonly digest: Digest }[];
};

/** Why an image stays. */
export const keepReasons = [
  /** a container has it, running or not */
  "machine",
  "live release",
  "retained release",
  /** a run that pushed it is open */
  "run",
  /** upstream does not have it yet, and it is on its way */
  "replication",
  /** upstream does not have it, and nobody sends it there */
  "not upstream",
  /** a lease of a push or of a starting machine holds it */
  "in use",
  /** pushed or used too recently */
  "recent",
  /** something changed between plan and removal */
  "changed",
] as const;
export type KeepReason = (typeof keepReasons)[number];

/** Why an image goes: no release and no run needs it, upstream has what was pushed otherwise, what was fetched is not used, its tag is gone. */
export type RemoveReason = "no release" | "upstream has it" | "unused" | "no tag";

export type ImageVerdict<R extends string> = { readonly org: string; readonly name: string; readonly digest: Digest; readonly reason: R };

export type PruneReport = {
  readonly host: string;
  readonly dryRun: boolean;
  /** free on containerd's disk when the pass began */
  readonly freeBytes: number;
  readonly lowDisk: boolean;
  readonly removed: number;
  readonly kept: number;
  /** of content and snapshots that nothing else on this host needs: each is counted once */
  readonly freedBytes: number;
  /** ingests that nobody goes on with */
  readonly abortedIngests: number;
  /** the first of them; what a removal frees is counted at the first that shares it */
  readonly removals: readonly (ImageVerdict<RemoveReason> & { readonly freedBytes: number })[];
  /** the first of them */
  readonly keeps: readonly ImageVerdict<KeepReason>[];
};
