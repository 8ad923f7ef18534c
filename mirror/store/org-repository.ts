import { createHash } from "node:crypto";
import type { BlobStat } from "../../containerd/content.ts";
import type { Labels } from "../../containerd/labels.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository, Tag } from "../../oci/repository.ts";

/**
 * Repositories of an org are `<org>/<app>` and below; any other name does not exist here.
 * @throws DistributionError NAME_UNKNOWN, whoever else may have such a repository.
 */
export function requireOwnRepository(org: string, repository: Repository): void {
  if (!repository.startsWith(`${org}/`)) throw new DistributionError("NAME_UNKNOWN", { name: repository });
}

/** A label key is short, so the name is hashed into it; the value says it in full. */
const hashed = (repository: Repository): string => createHash("sha256").update(repository).digest("hex").slice(0, 16);

const memberKey = (repository: Repository): string => `slipway.repo.${hashed(repository)}`;
const manifestKey = (repository: Repository): string => `slipway.manifest.${hashed(repository)}`;
const subjectKey = (repository: Repository): string => `slipway.subject.${hashed(repository)}`;

/**
 * Labels of content say in which repositories it is: possession of a digest elsewhere in the org is no right to it here. `<hash>` is that of
 * the repository's name.
 *
 * - `slipway.repo.<hash>` = the repository. It has this content, as a blob or as a manifest.
 * - `slipway.manifest.<hash>` = media type. It was pushed there as a manifest, of that type.
 * - `slipway.subject.<hash>` = digest. That manifest refers to this one: it is listed among its referrers.
 *
 * None of them keeps anything from the collector: image records, leases and containerd's own labels do.
 */
export const membership = {
  blobLabels: (repository: Repository): Labels => ({ [memberKey(repository)]: repository }),
  manifestLabels: (repository: Repository, mediaType: string, subject?: Digest): Labels => ({
    [memberKey(repository)]: repository,
    [manifestKey(repository)]: mediaType,
    ...(subject === undefined ? {} : { [subjectKey(repository)]: subject }),
  }),
  includes: (repository: Repository, { labels }: BlobStat): boolean => labels[memberKey(repository)] === repository,
  /** the media type it was pushed as; undefined when it was pushed as a blob only */
  manifestType: (repository: Repository, { labels }: BlobStat): string | undefined =>
    labels[memberKey(repository)] === repository ? labels[manifestKey(repository)] : undefined,
  /** the keys of all labels that a repository has put on content */
  keys: (repository: Repository): readonly string[] => [memberKey(repository), manifestKey(repository), subjectKey(repository)],
  /** containerd's filter for all content of a repository */
  filterOf: (repository: Repository): string => `labels."${memberKey(repository)}"=="${repository}"`,
  /** containerd's filter for the manifests of a repository that refer to a subject */
  referrersFilterOf: (repository: Repository, subject: Digest): string => `labels."${subjectKey(repository)}"=="${subject}"`,
} as const;

/**
 * Names of image records. A record keeps a manifest and all that it names from the collector; what no record holds, nor an index that a
 * record holds, nor a lease, is gone with the next collection.
 *
 * - `<imageHost>/<repository>:<tag>`: the tag, as pushed or moved last. What a machine's image is called.
 * - `<imageHost>/<repository>@<digest>`: a manifest that no tag names. It was pushed by its digest, and no index was pushed over it yet; or
 *   it had a tag, which has moved or was deleted (then the record has the label `slipway.superseded`, the tag it had last); or it was the
 *   child of an index that was deleted. It stays readable by its digest until a prune takes the record. When a tag comes to name the
 *   manifest, or an index over it is pushed, the record goes, as it is held by that.
 *
 * Every record has the label `slipway.repository`.
 */
export const imageNames = {
  tagged: (imageHost: string, repository: Repository, tag: Tag | string): string => `${imageHost}/${repository}:${tag}`,
  byDigest: (imageHost: string, repository: Repository, digest: string): string => `${imageHost}/${repository}@${digest}`,
  /** containerd's filter for all records of a repository */
  filterOf: (imageHost: string, repository: Repository): string =>
    `name~="^${`${imageHost}/${repository}`.replaceAll(/[.+*?^$()[\]{}|\\]/g, "\\\\$&")}[:@]"`,
} as const;

export const supersededLabel = "slipway.superseded";
