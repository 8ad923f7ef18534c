import { ContentMismatchError, listBlobs, readBlobBytes, statBlob, writeBlob } from "../../containerd/content.ts";
import { readManifest } from "../../containerd/image.ts";
import { deleteImage, getImage, listImages, putImage } from "../../containerd/images.ts";
import { gcLabels, type Labels } from "../../containerd/labels.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestOf } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type Manifest, childrenOf, manifestLimitBytes, parseManifest } from "../../oci/manifest.ts";
import { isImageIndexType, isImageManifestType } from "../../oci/media-types.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import { type Repository, type Tag, isTag } from "../../oci/repository.ts";
import type { ManifestStore } from "../../oci/store.ts";
import { type StoreParts, holdMember } from "./blob-store.ts";
import { imageNames, membership, requireOwnRepository } from "./org-repository.ts";
import type { PushSession } from "./push-sessions.ts";
import { asDistributionErrors } from "./storage-error.ts";
import type { Unpacker } from "../unpack/unpack-pushed.ts";

export type ManifestStoreParts = StoreParts & {
  readonly imageHost: string;
  readonly unpacker: Unpacker;
};

/** Manifests and tags of one org's repositories: content in containerd, and one image record per tag. */
export function createManifestStore(parts: ManifestStoreParts): ManifestStore {
  const { org, ns, imageHost, sessions } = parts;

  async function resolve(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<Descriptor | undefined> {
    const digest = reference.kind === "digest" ? reference.digest : await taggedDigest(repository, reference.tag, signal);
    if (digest === undefined) return undefined;
    const stat = await statBlob(ns, digest, signal);
    const mediaType = stat === undefined ? undefined : membership.manifestType(repository, stat);
    return stat === undefined || mediaType === undefined ? undefined : { mediaType, digest, size: stat.sizeBytes };
  }

  async function taggedDigest(repository: Repository, tag: Tag, signal: AbortSignal): Promise<Digest | undefined> {
    return (await getImage(ns, imageNames.tagged(imageHost, repository, tag), signal))?.target.digest;
  }

  return {
    async resolve(repository, reference, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        const found = await resolve(repository, reference, signal);
        if (found === undefined || reference.kind === "tag") return found;
        // a pusher that finds a child manifest does not send it
        return sessions.within(repository, signal, async (session) => {
          await session.pin(found.digest, signal);
          return resolve(repository, reference, signal);
        });
      });
    },
    async read(repository, reference, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        const descriptor = await resolve(repository, reference, signal);
        if (descriptor === undefined) return undefined;
        return { descriptor, bytes: await readBlobBytes(ns, descriptor.digest, { limitBytes: manifestLimitBytes }, signal) };
      });
    },
    async write(repository, reference, mediaType, bytes, signal, { mayReplace } = {}) {
      requireOwnRepository(org, repository);
      // image records have no compare-and-swap
      if (mayReplace !== undefined) throw new DistributionError("UNSUPPORTED", { feature: "If-Match and If-None-Match of a push" });
      const descriptor = describe(reference, mediaType, bytes);
      const manifest = parseManifest(bytes, mediaType);
      return asDistributionErrors(() =>
        sessions.within(repository, signal, async (session) => {
          await holdChildren(parts, session, repository, manifest, signal);
          await storeManifest(session, repository, manifest, descriptor, bytes, signal);
          await parts.unpacker.unpackPushed(session, manifest, descriptor, signal);
          await recordImage(parts, session, repository, reference, descriptor, signal);
          await settle(parts, repository, manifest, descriptor, reference, signal);
          return descriptor;
        }),
      );
    },
    async tags(repository, { limit, last }, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        const prefix = imageNames.tagged(imageHost, repository, "");
        const records = await listImages(ns, [imageNames.filterOf(imageHost, repository)], signal);
        if (records.length === 0 && !(await hasAny(parts, repository, signal))) return undefined;
        const tags = records.map(({ name }) => (name.startsWith(prefix) ? name.slice(prefix.length) : "")).filter(isTag);
        const after = tags.sort(asciiOrder).filter((tag) => last === undefined || asciiOrder(tag, last) > 0);
        return after.slice(0, limit);
      });
    },
  };
}

const asciiOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

async function hasAny({ ns }: ManifestStoreParts, repository: Repository, signal: AbortSignal): Promise<boolean> {
  const [[key, value]] = Object.entries(membership.blobLabels(repository)) as [[string, string]];
  for await (const _blob of listBlobs(ns, [`labels."${key}"=="${value}"`], signal)) return true;
  return false;
}

/** @throws DistributionError DIGEST_INVALID when pushed by another digest than its own. */
function describe(reference: ManifestReference, mediaType: string, bytes: Uint8Array): Descriptor {
  const digest = digestOf(bytes, reference.kind === "digest" ? digestAlgorithm(reference.digest) : "sha256");
  if (reference.kind === "digest" && reference.digest !== digest) {
    throw new DistributionError("DIGEST_INVALID", { digest: reference.digest, found: digest });
  }
  return { mediaType, digest, size: bytes.length };
}

/** Every child must be in this repository, with the size that is named, when it is under this push's lease. */
async function holdChildren(
  { ns }: StoreParts,
  session: PushSession,
  repository: Repository,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  for (const child of childrenOf(manifest)) {
    const found = await holdMember(ns, session, repository, child.digest, signal);
    if (found === undefined) throw new DistributionError("MANIFEST_BLOB_UNKNOWN", { digest: child.digest });
    if (found.size !== child.size) {
      throw new DistributionError("MANIFEST_INVALID", { digest: child.digest, field: "size", found: child.size, expected: found.size });
    }
  }
}

async function storeManifest(
  session: PushSession,
  repository: Repository,
  manifest: Manifest,
  descriptor: Descriptor,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  // in one message with the bytes: a manifest without them would not hold its children for a moment
  const labels = { ...childLabels(manifest), ...membership.manifestLabels(repository, descriptor.mediaType) };
  try {
    await writeBlob(session.ns, bytes, descriptor, labels, signal);
  } catch (error) {
    if (error instanceof ContentMismatchError) throw new DistributionError("DIGEST_INVALID", { found: error.found }, { cause: error });
    throw error;
  }
  session.wrote(descriptor.digest);
}

export function childLabels(manifest: Manifest): Labels {
  if (manifest.kind === "index") {
    return Object.fromEntries(manifest.manifests.map(({ digest }, index) => [gcLabels.manifest(index), digest]));
  }
  const layers = manifest.layers.map(({ digest }, index) => [gcLabels.layer(index), digest] as const);
  return Object.fromEntries([[gcLabels.config, manifest.config.digest] as const, ...layers]);
}

/** The record comes last: from here on the image can be started, and the collector leaves all of it alone. */
async function recordImage(
  { imageHost }: ManifestStoreParts,
  session: PushSession,
  repository: Repository,
  reference: ManifestReference,
  target: Descriptor,
  signal: AbortSignal,
): Promise<void> {
  const name =
    reference.kind === "tag"
      ? imageNames.tagged(imageHost, repository, reference.tag)
      : imageNames.byDigest(imageHost, repository, reference.digest);
  await putImage(session.ns, { name, target, labels: { "slipway.repository": repository } }, signal);
}

/**
 * What the new record holds needs the push's lease no more; and records by digest alone, under which the children of an index came,
 * have done their service.
 */
async function settle(
  { ns, imageHost, sessions }: ManifestStoreParts,
  repository: Repository,
  manifest: Manifest,
  descriptor: Descriptor,
  reference: ManifestReference,
  signal: AbortSignal,
): Promise<void> {
  const children = childrenOf(manifest).map(({ digest }) => digest);
  sessions.settled(repository, [descriptor.digest, ...children, ...(await grandchildrenOf(ns, manifest, signal))]);
  const covered = manifest.kind === "index" ? children : [];
  if (reference.kind === "tag") covered.push(descriptor.digest);
  for (const digest of covered) await deleteImage(ns, imageNames.byDigest(imageHost, repository, digest), signal);
}

/** Blobs of an index's images: a pusher that found the image here asked for them, and did not send it. */
async function grandchildrenOf(ns: StoreParts["ns"], manifest: Manifest, signal: AbortSignal): Promise<Digest[]> {
  if (manifest.kind === "image") return [];
  const digests: Digest[] = [];
  for (const { digest, mediaType } of manifest.manifests) {
    if (!isImageManifestType(mediaType) && !isImageIndexType(mediaType)) continue;
    // the image is in already: what cannot be read here only keeps the lease until it idles out
    const child = await readManifest(ns, digest, signal).catch(() => undefined);
    if (child !== undefined) digests.push(...childrenOf(child).map((grandchild) => grandchild.digest));
  }
  return digests;
}
