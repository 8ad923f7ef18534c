import { createHash } from "node:crypto";
import { type Digest, digestAlgorithm, digestEncoded, isDigest } from "../../oci/digest.ts";
import { type Repository, type Tag, isRepository } from "../../oci/repository.ts";

/**
 * Every key of the bucket. No key is ever the prefix folder of another: S3 servers over a file system refuse that.
 *
 *   bytes/<2 hex>/<upload id>-<hex>               bytes of a blob or the tail of an open upload, written once; never visible by themselves
 *   digests/<algorithm>/<2 hex>/<hex>             {key, sizeBytes, …}: which bytes a proven digest has, by compare-and-swap; both may be
 *                                                 condemned or dying (blobs/record-life.ts)
 *   uploads/<upload id>                           all that is known of an open upload (uploads/upload-state.ts), by compare-and-swap
 *   repositories/<name, "/" as ":">/
 *     blobs/<algorithm>/<hex>                     {key, sizeBytes, …}: this repository has that blob
 *     manifests/<algorithm>/<hex>                 the manifest's own bytes, its media type as Content-Type
 *     tags/<tag>                                  {mediaType, digest, size, revision, deletedAtMs?}; changed only by compare-and-swap
 *     tagged/<algorithm>/<hex>/<tag>              {}: this tag names that manifest, or did once; goes with the manifest
 *     referrers/<algorithm>/<hex of the subject>/
 *       <16 hex of the artifact type's sha256>/
 *         <algorithm>/<hex>                       {mediaType, digest, size, artifactType?, annotations?}: a manifest with that subject
 *     sources/<algorithm>/<hex>                   {key, sizeBytes, …}: that manifest lists the packs of a source; may be condemned or dying
 *     deleting/<algorithm>/<hex>                  {atMs, revision}: the manifest, its tags and its referrer entry are being deleted
 *   auth/
 *     signing-keys/<10 digits>                    {createdAtMs, privateKey}: signs access tokens; written only if absent, the last one signs
 *     deploy-tokens/<id>                          {secretSha256, org, app?, actions, …}: who may pull and push what
 *   garbage/strays-swept                          {atMs}: when all bytes were last compared with what names them
 *   releases/<org>/<app>/
 *     versions/<10 digits>.json                   one release, written only if absent
 *     keys/<sha256 of the idempotency key>.json   the same release
 *   locations/<name, "/" as ":">/<algorithm>/<hex>/
 *     <host>                                      {url, atMs}: that host's mirror has the image; only a hint (locations/location-records.ts)
 *   probes/<instance>                             {at}: rewritten by each look of an instance at S3 (observe/bucket-probe.ts)
 */
export const storageKeys = {
  /** @param nonce hex; each writing takes a fresh one, so that two writers never meet in one key */
  bytes: (uploadId: string, nonce: string) => `${storageKeys.bytesOf(uploadId)}${nonce}`,
  bytesOf: (uploadId: string) => `${storageKeys.allBytes}${uploadId.slice(0, 2)}/${uploadId}-`,
  allBytes: "bytes/",
  allDigests: "digests/",
  digest: (digest: Digest) => `digests/${digestAlgorithm(digest)}/${digestEncoded(digest).slice(0, 2)}/${digestEncoded(digest)}`,
  upload: (id: string) => `${storageKeys.allUploads}${id}`,
  allUploads: "uploads/",
  allRepositories: "repositories/",
  repository: (repository: Repository) => `repositories/${repository.replaceAll("/", ":")}/`,
  blobs: (repository: Repository) => `${storageKeys.repository(repository)}blobs/`,
  blob: (repository: Repository, digest: Digest) => `${storageKeys.blobs(repository)}${pathOf(digest)}`,
  manifests: (repository: Repository) => `${storageKeys.repository(repository)}manifests/`,
  manifest: (repository: Repository, digest: Digest) => `${storageKeys.manifests(repository)}${pathOf(digest)}`,
  tags: (repository: Repository) => `${storageKeys.repository(repository)}tags/`,
  tag: (repository: Repository, tag: Tag) => `${storageKeys.tags(repository)}${tag}`,
  taggedAs: (repository: Repository, digest: Digest) => `${storageKeys.repository(repository)}tagged/${pathOf(digest)}/`,
  referrers: (repository: Repository, subject: Digest) => `${storageKeys.repository(repository)}referrers/${pathOf(subject)}/`,
  referrersOfType: (repository: Repository, subject: Digest, artifactType: string | undefined) =>
    `${storageKeys.referrers(repository, subject)}${sha256(artifactType ?? "").slice(0, 16)}/`,
  referrer: (repository: Repository, subject: Digest, artifactType: string | undefined, digest: Digest) =>
    `${storageKeys.referrersOfType(repository, subject, artifactType)}${pathOf(digest)}`,
  sources: (repository: Repository) => `${storageKeys.repository(repository)}sources/`,
  source: (repository: Repository, digest: Digest) => `${storageKeys.sources(repository)}${pathOf(digest)}`,
  deleting: (repository: Repository, digest: Digest) => `${storageKeys.repository(repository)}deleting/${pathOf(digest)}`,
  straysSwept: "garbage/strays-swept",
  signingKeys: "auth/signing-keys/",
  signingKey: (number: number) => `${storageKeys.signingKeys}${String(number).padStart(10, "0")}`,
  deployTokens: "auth/deploy-tokens/",
  deployToken: (id: string) => `${storageKeys.deployTokens}${id}`,
  allLocations: "locations/",
  locations: (repository: Repository, digest: Digest) => `${storageKeys.allLocations}${repository.replaceAll("/", ":")}/${pathOf(digest)}/`,
  location: (repository: Repository, digest: Digest, host: string) => `${storageKeys.locations(repository, digest)}${segment(host)}`,
  probe: (instance: string) => `probes/${instance}`,
  releaseVersions: (org: string, app: string) => `releases/${segment(org)}/${segment(app)}/versions/`,
  releaseVersion: (org: string, app: string, version: number) =>
    `${storageKeys.releaseVersions(org, app)}${String(version).padStart(10, "0")}.json`,
  releaseKey: (org: string, app: string, key: string) => `releases/${segment(org)}/${segment(app)}/keys/${sha256(key)}.json`,
} as const;

/** The upload that wrote the bytes; undefined for a key of another shape, as the layout before this one has them. */
export function uploadOfBytes(key: string): string | undefined {
  return /^bytes\/[0-9a-f]{2}\/([0-9a-f]{32})-[0-9a-f]+$/.exec(key)?.[1];
}

/** The upload whose state it is; undefined for a key of another shape. */
export function uploadOfState(key: string): string | undefined {
  return /^uploads\/([0-9a-f]{32})$/.exec(key)?.[1];
}

/**
 * Where a listing under `prefix` begins that goes on after `last`, which is any text a client sent: keys are printable ASCII below "~",
 * so what follows the first other character decides nothing more.
 */
export function startAfter(prefix: string, last: string): string {
  const printable = /^[\x20-\x7d]*/.exec(last)![0];
  const other = last[printable.length];
  return prefix + printable + (other !== undefined && other >= "~" ? "~" : "");
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** The digest that ends a key of `digests/`, `blobs/`, `manifests/` or `sources/`; undefined for a key of another shape. */
export function digestOfKey(key: string): Digest | undefined {
  const match = /\/(sha256|sha512)\/(?:[0-9a-f]{2}\/)?([0-9a-f]+)$/.exec(key);
  const text = `${match?.[1]}:${match?.[2]}`;
  return isDigest(text) ? text : undefined;
}

/** The repository that a key below `repositories/` belongs to. */
export function repositoryOfKey(key: string): Repository | undefined {
  const name = /^repositories\/([^/]+)\//.exec(key)?.[1]?.replaceAll(":", "/") ?? "";
  return isRepository(name) ? name : undefined;
}

const pathOf = (digest: Digest): string => `${digestAlgorithm(digest)}/${digestEncoded(digest)}`;

/** @throws SyntaxError for what would leave its place in the tree. */
function segment(name: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) return name;
  throw new SyntaxError(`Cannot make a storage key of "${name.slice(0, 80)}": expected lower-case letters, digits and "-"`);
}
