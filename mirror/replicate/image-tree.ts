import { type ContainerdNamespace, isNotFound } from "../../containerd/client.ts";
import { readBlobBytes } from "../../containerd/content.ts";
import { readManifest } from "../../containerd/image.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { childrenOf, manifestLimitBytes } from "../../oci/manifest.ts";
import { isImageIndexType, isImageManifestType } from "../../oci/media-types.ts";
import type { Repository } from "../../oci/repository.ts";
import { ImageVerificationError } from "../images/image-verification-error.ts";

/** A manifest as this host has it, with all that it names. */
export type ImageTree = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Buffer;
  /** each digest once */
  readonly blobs: readonly Descriptor[];
  readonly manifests: readonly ImageTree[];
};

/** @throws ImageVerificationError CONTENT_MISSING for a manifest that this host has lost. */
export async function readImageTree(
  ns: ContainerdNamespace,
  { repository, digest }: { readonly repository: Repository; readonly digest: Digest },
  signal: AbortSignal,
): Promise<ImageTree> {
  const { manifest, bytes } = await readLocal(ns, repository, digest, signal);
  const children = childrenOf(manifest);
  // the layers of an image are blobs, whatever they say they are
  const below = manifest.kind === "image" ? [] : children.filter(isManifest);
  const manifests: ImageTree[] = [];
  for (const child of below) manifests.push(await readImageTree(ns, { repository, digest: child.digest }, signal));
  const blobs = children.filter((child) => !below.includes(child));
  return {
    digest,
    mediaType: manifest.mediaType,
    bytes,
    blobs: [...new Map(blobs.map((blob) => [blob.digest, blob])).values()],
    manifests,
  };
}

/** Of all manifests and blobs; what two manifests name counts twice, as it is asked for twice. */
export function treeSizeBytes({ bytes, blobs, manifests }: ImageTree): number {
  return [...blobs.map(({ size }) => size), ...manifests.map(treeSizeBytes)].reduce((sum, size) => sum + size, bytes.length);
}

const isManifest = ({ mediaType }: Descriptor): boolean => isImageManifestType(mediaType) || isImageIndexType(mediaType);

async function readLocal(ns: ContainerdNamespace, repository: Repository, digest: Digest, signal: AbortSignal) {
  try {
    const manifest = await readManifest(ns, digest, signal);
    return { manifest, bytes: await readBlobBytes(ns, digest, { limitBytes: manifestLimitBytes }, signal) };
  } catch (error) {
    if (isNotFound(error)) throw new ImageVerificationError("CONTENT_MISSING", { repository, digest }, { cause: error });
    throw error;
  }
}
