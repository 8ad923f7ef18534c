import { type ContainerdNamespace, isNotFound } from "../../containerd/client.ts";
import { statBlob } from "../../containerd/content.ts";
import { ImageDocumentError, type StoredImage, readImage, resolveRunnable } from "../../containerd/image.ts";
import { gcLabels } from "../../containerd/labels.ts";
import { statSnapshot } from "../../containerd/snapshots.ts";
import { planLayers } from "../../containerd/unpack.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import { ImageVerificationError } from "./image-verification-error.ts";
import { membership } from "../store/org-repository.ts";

export type StoredImageRef = { readonly repository: Repository; readonly digest: Digest; readonly snapshotter: string };

/**
 * Reads one image back from containerd: the manifest this host runs and its config, hashed again; every blob of the repository, with its
 * size; and for each layer a committed snapshot, named by its chain id, over that of the layer below.
 * @throws ImageVerificationError
 */
export async function verifyStoredImage(
  ns: ContainerdNamespace,
  { repository, digest, snapshotter }: StoredImageRef,
  signal: AbortSignal,
): Promise<{ readonly manifestDigest: Digest; readonly sizeBytes: number }> {
  const { manifestDigest, image } = await readStored(ns, digest, signal);
  const sizeBytes = await requireContent(ns, repository, manifestDigest, image, signal);
  await requireSnapshots(ns, image, snapshotter, signal);
  return { manifestDigest, sizeBytes };
}

async function readStored(
  ns: ContainerdNamespace,
  digest: Digest,
  signal: AbortSignal,
): Promise<{ readonly manifestDigest: Digest; readonly image: StoredImage }> {
  try {
    const manifestDigest = await resolveRunnable(ns, digest, signal);
    return { manifestDigest, image: await readImage(ns, manifestDigest, signal) };
  } catch (error) {
    if (isNotFound(error)) throw new ImageVerificationError("CONTENT_MISSING", { digest }, { cause: error });
    if (error instanceof ImageDocumentError || error instanceof DistributionError || error instanceof RangeError) {
      throw new ImageVerificationError("IMAGE_INVALID", { digest, found: error.message }, { cause: error });
    }
    throw error;
  }
}

/** Answers the image's size: its manifest, config and layers. */
async function requireContent(
  ns: ContainerdNamespace,
  repository: Repository,
  manifestDigest: Digest,
  { manifest, diffIds }: StoredImage,
  signal: AbortSignal,
): Promise<number> {
  let sizeBytes = (await requireMember(ns, repository, manifestDigest, signal)).sizeBytes;
  for (const part of [manifest.config, ...manifest.layers]) sizeBytes += await requireSize(ns, repository, part, signal);
  for (const [index, layer] of manifest.layers.entries()) {
    const { labels } = await requireMember(ns, repository, layer.digest, signal);
    const found = labels[gcLabels.uncompressed];
    if (found === undefined) throw new ImageVerificationError("SNAPSHOT_MISSING", { layer: layer.digest });
    if (found !== diffIds[index])
      throw new ImageVerificationError("DIGEST_MISMATCH", { layer: layer.digest, found, expected: diffIds[index] });
  }
  return sizeBytes;
}

async function requireSize(ns: ContainerdNamespace, repository: Repository, part: Descriptor, signal: AbortSignal): Promise<number> {
  const { sizeBytes } = await requireMember(ns, repository, part.digest, signal);
  if (sizeBytes === part.size) return sizeBytes;
  throw new ImageVerificationError("DIGEST_MISMATCH", { digest: part.digest, found: `${sizeBytes} bytes`, expected: `${part.size} bytes` });
}

async function requireMember(ns: ContainerdNamespace, repository: Repository, digest: Digest, signal: AbortSignal) {
  const stat = await statBlob(ns, digest, signal);
  if (stat === undefined || !membership.includes(repository, stat)) {
    throw new ImageVerificationError("CONTENT_MISSING", { repository, digest });
  }
  return stat;
}

async function requireSnapshots(ns: ContainerdNamespace, image: StoredImage, snapshotter: string, signal: AbortSignal): Promise<void> {
  for (const { chainId, parent } of planLayers(image, snapshotter)) {
    const snapshot = await statSnapshot(ns, snapshotter, chainId, signal);
    if (snapshot?.committed !== true || snapshot.parent !== parent) throw new ImageVerificationError("SNAPSHOT_MISSING", { chainId });
  }
}
