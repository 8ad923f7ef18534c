import { type Digest, isDigest, parseDigest } from "./digest.ts";
import { type Repository, type Tag, isTag, parseRepository, parseTag } from "./repository.ts";

/** What follows the last `/` of a manifest URL: a tag or a digest. */
export type ManifestReference = { readonly kind: "tag"; readonly tag: Tag } | { readonly kind: "digest"; readonly digest: Digest };

/** A whole image name: `host/repository:tag` or `host/repository@digest`. */
export type ImageReference = { readonly host: string; readonly repository: Repository; readonly reference: ManifestReference };

/** @throws SyntaxError when the text is neither a digest nor a tag. */
export function parseManifestReference(text: string): ManifestReference {
  if (isDigest(text)) return { kind: "digest", digest: text };
  if (isTag(text)) return { kind: "tag", tag: text };
  throw new SyntaxError(`Cannot parse reference "${text.slice(0, 160)}": expected a tag or a digest`);
}

/**
 * Parses `host[:port]/repository[:tag][@digest]`; the host is required, as nothing here guesses Docker Hub.
 * @throws SyntaxError naming the text and the expected form.
 */
export function parseImageReference(text: string): ImageReference {
  const slash = text.indexOf("/");
  const host = text.slice(0, Math.max(slash, 0));
  if (slash < 1 || !/^[a-zA-Z0-9.-]+(:\d+)?$/.test(host)) {
    throw new SyntaxError(`Cannot parse image reference "${text.slice(0, 200)}": expected host/repository:tag or host/repository@digest`);
  }
  const rest = text.slice(slash + 1);
  const at = rest.indexOf("@");
  if (at >= 0) {
    const name = rest.slice(0, at).replace(/:[^/:]*$/, "");
    return { host, repository: parseRepository(name), reference: { kind: "digest", digest: parseDigest(rest.slice(at + 1)) } };
  }
  const colon = rest.lastIndexOf(":");
  if (colon < 0) return { host, repository: parseRepository(rest), reference: { kind: "tag", tag: parseTag("latest") } };
  return { host, repository: parseRepository(rest.slice(0, colon)), reference: { kind: "tag", tag: parseTag(rest.slice(colon + 1)) } };
}

export function formatManifestReference(reference: ManifestReference): string {
  return reference.kind === "tag" ? reference.tag : reference.digest;
}

export function formatImageReference({ host, repository, reference }: ImageReference): string {
  return reference.kind === "tag" ? `${host}/${repository}:${reference.tag}` : `${host}/${repository}@${reference.digest}`;
}
