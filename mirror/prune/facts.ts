import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";

/** Where an image record is from. What is none of these is not ours to judge, and in no plan. */
export type ImageOrigin =
  /** pushed by a run, under a tag of its own */
  | "run"
  /** pushed under any other name */
  | "pushed"
  /** pushed under a tag that has been moved or deleted since; readable by its digest */
  | "untagged"
  /** brought from elsewhere to be read here */
  | "fetched";

export type ImageFact = {
  readonly org: string;
  readonly name: string;
  readonly repository: Repository;
  /** absent for a name by digest */
  readonly tag?: string;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly origin: ImageOrigin;
  readonly changedAtMs: number;
  /** of what was fetched: when somebody last asked for it */
  readonly usedAtMs: number;
};

/** Who holds an image of an org; by name too, where the holder says one. */
export type ImageHolder = { readonly org: string; readonly digest: Digest; readonly name?: string };

/** What one host has. */
export type HostFacts = {
  readonly images: readonly ImageFact[];
  /** of records that are not ours to judge */
  readonly others: readonly ImageHolder[];
  /** of containers, whether or not their process runs */
  readonly machines: readonly ImageHolder[];
  /** of leases that pin what is not upstream yet */
  readonly pins: readonly ImageHolder[];
  /** of all other leases: pushes, machines that start */
  readonly leased: readonly ImageHolder[];
  /** repositories, as `org` has them, that a push is open in: children of an index may be there before it */
  readonly openPushes: readonly { readonly org: string; readonly repository: string }[];
};
