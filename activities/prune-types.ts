import type { ImageClaims, PruneHostInput, PruneReport } from "../workflows/prune-types.ts";

/** Activities of `host:<id>` that prune its images. */
export interface HostPruneActivities {
  /** The apps that images of this host are of, and when they were listed, by this host's clock. */
  surveyImages(): Promise<{ surveyedAtMs: number; apps: readonly { org: string; app: string }[] }>;
  /** Removes what neither this host nor the claims need; a dry run tells what that is. Heartbeats how far it is. */
  pruneImages(input: PruneHostInput & { claims: ImageClaims; surveyedAtMs: number }): Promise<PruneReport>;
}

/** Activities of `control` for the prune of a host. */
export interface ControlPruneActivities {
  /** What of these apps' images must stay. The open runs are looked up first: one that ends meanwhile has its release in the ledger. */
  claimImages(input: { apps: readonly { org: string; app: string }[]; keepReleases: number }): Promise<ImageClaims>;
}
