import { createHash } from "node:crypto";
import type { BlobStat } from "../../containerd/content.ts";
import type { Labels } from "../../containerd/labels.ts";
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

/** Labels of content say in which repositories it is: possession of a digest elsewhere in the org is no right to it here. */
export const membership = {
  blobLabels: (repository: Repository): Labels => ({ [memberKey(repository)]: repository }),
  manifestLabels: (repository: Repository, mediaType: string): Labels => ({
    [memberKey(repository)]: repository,
    [manifestKey(repository)]: mediaType,
  }),
  includes: (repository: Repository, { labels }: BlobStat): boolean => labels[memberKey(repository)] === repository,
  /** the media type it was pushed as; undefined when it was pushed as a blob only */
  manifestType: (repository: Repository, { labels }: BlobStat): string | undefined =>
    labels[memberKey(repository)] === repository ? labels[manifestKey(repository)] : undefined,
} as const;

/** Names of image records: what a machine's image is called, and what holds a manifest that was pushed by digest alone. */
export const imageNames = {
  tagged: (imageHost: string, repository: Repository, tag: Tag | string): string => `${imageHost}/${repository}:${tag}`,
  byDigest: (imageHost: string, repository: Repository, digest: string): string => `${imageHost}/${repository}@${digest}`,
  /** containerd's filter for all records of a repository */
  filterOf: (imageHost: string, repository: Repository): string =>
    `name~="^${`${imageHost}/${repository}`.replaceAll(/[.+*?^$()[\]{}|\\]/g, "\\\\$&")}[:@]"`,
} as const;
