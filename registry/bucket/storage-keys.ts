import { createHash } from "node:crypto";
import { type Digest, digestAlgorithm, digestEncoded } from "../../oci/digest.ts";
import type { Repository, Tag } from "../../oci/repository.ts";

export type WrittenBy = { readonly writer: string; readonly id: string };

/**
 * Every key of the bucket. No key is ever the prefix folder of another: S3 servers over a file system refuse that.
 * `<writer>` names the registry instance that wrote an object, so that it finds after a crash what its former life left behind.
 *
 *   bytes/<writer>/<2 hex>/<id>                   bytes of a blob, written once under an opaque id; never visible by themselves
 *   unlinked/<writer>/<id>                        {digest}: bytes under that id are being made, and nothing names them yet
 *   digests/<algorithm>/<2 hex>/<hex>             {key, sizeBytes}: which bytes a proven digest has; written only if absent
 *   uploads/<writer>/<id>                         the tail of an idle upload session, too short for a part of its own
 *   repositories/<name, "/" as ":">/
 *     blobs/<algorithm>/<hex>                     {key, sizeBytes}: this repository has that blob
 *     manifests/<algorithm>/<hex>                 the manifest's own bytes, its media type as Content-Type
 *     tags/<tag>                                  {mediaType, digest, size}
 *   auth/
 *     signing-keys/<10 digits>                    {createdAtMs, privateKey}: signs access tokens; written only if absent, the last one signs
 *     deploy-tokens/<id>                          {secretSha256, org, app?, actions, …}: who may pull and push what
 *   releases/<org>/<app>/
 *     versions/<10 digits>.json                   one release, written only if absent
 *     keys/<sha256 of the idempotency key>.json   the same release
 */
export const storageKeys = {
  bytes: ({ writer, id }: WrittenBy) => `${storageKeys.bytesOf(writer)}${id.slice(0, 2)}/${id}`,
  bytesOf: (writer: string) => `bytes/${writer}/`,
  allBytes: "bytes/",
  unlinked: ({ writer, id }: WrittenBy) => `${storageKeys.unlinkedOf(writer)}${id}`,
  unlinkedOf: (writer: string) => `${storageKeys.allUnlinked}${writer}/`,
  allUnlinked: "unlinked/",
  digest: (digest: Digest) => `digests/${digestAlgorithm(digest)}/${digestEncoded(digest).slice(0, 2)}/${digestEncoded(digest)}`,
  uploadTail: ({ writer, id }: WrittenBy) => `${storageKeys.uploadTailsOf(writer)}${id}`,
  uploadTailsOf: (writer: string) => `${storageKeys.allUploadTails}${writer}/`,
  allUploadTails: "uploads/",
  repository: (repository: Repository) => `repositories/${repository.replaceAll("/", ":")}/`,
  blob: (repository: Repository, digest: Digest) => `${storageKeys.repository(repository)}blobs/${pathOf(digest)}`,
  manifest: (repository: Repository, digest: Digest) => `${storageKeys.repository(repository)}manifests/${pathOf(digest)}`,
  tags: (repository: Repository) => `${storageKeys.repository(repository)}tags/`,
  tag: (repository: Repository, tag: Tag) => `${storageKeys.tags(repository)}${tag}`,
  signingKeys: "auth/signing-keys/",
  signingKey: (number: number) => `${storageKeys.signingKeys}${String(number).padStart(10, "0")}`,
  deployTokens: "auth/deploy-tokens/",
  deployToken: (id: string) => `${storageKeys.deployTokens}${id}`,
  releaseVersions: (org: string, app: string) => `releases/${segment(org)}/${segment(app)}/versions/`,
  releaseVersion: (org: string, app: string, version: number) =>
    `${storageKeys.releaseVersions(org, app)}${String(version).padStart(10, "0")}.json`,
  releaseKey: (org: string, app: string, key: string) =>
    `releases/${segment(org)}/${segment(app)}/keys/${createHash("sha256").update(key).digest("hex")}.json`,
} as const;

/** Who wrote one of the objects above that carry a writer; undefined for a key of another shape. */
export function writtenBy(key: string): WrittenBy | undefined {
  const match = /^(?:bytes\/([^/]+)\/[^/]+|(?:unlinked|uploads)\/([^/]+))\/([^/]+)$/.exec(key);
  const writer = match?.[1] ?? match?.[2];
  return writer === undefined ? undefined : { writer, id: match![3]! };
}

const pathOf = (digest: Digest): string => `${digestAlgorithm(digest)}/${digestEncoded(digest)}`;

/** @throws SyntaxError for what would leave its place in the tree. */
function segment(name: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) return name;
  throw new SyntaxError(`Cannot make a storage key of "${name.slice(0, 80)}": expected lower-case letters, digits and "-"`);
}
