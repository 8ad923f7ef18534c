import { orgNamespace } from "../../config/paths.ts";
import { type Containerd, type ContainerdNamespace, isNotFound } from "../../containerd/client.ts";
import { readBlob, readBlobBytes, statBlob } from "../../containerd/content.ts";
import { readManifest } from "../../containerd/image.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { DistributionClient } from "../../oci/distribution-client.ts";
import { type Manifest, childrenOf, manifestLimitBytes } from "../../oci/manifest.ts";
import { isImageIndexType, isImageManifestType } from "../../oci/media-types.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import { ImageVerificationError } from "../images/image-verification-error.ts";

export type ReplicateProgress = { readonly sentBytes: number; readonly skippedBytes: number };

export type ReplicateOptions = {
  readonly containerd: Containerd;
  /** speaks to upstream */
  readonly client: DistributionClient;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ReplicateProgress) => void;
};

type Push = Omit<ReplicateOptions, "containerd"> & {
  readonly ns: ContainerdNamespace;
  readonly repository: Repository;
  readonly count: Count;
};
type Count = { sentBytes: number; skippedBytes: number };

const mostBlobsAtOnce = 3;

/**
 * Sends an image, or an index and all it names, to the same repository upstream: children first, only what is missing there, the
 * manifest last; then reads the manifest back by its digest. The image must be pinned for as long as this runs.
 * @throws UpstreamError, ImageVerificationError CONTENT_MISSING for what this host has lost, DIGEST_MISMATCH for what came back.
 */
export async function pushUpstream(
  image: { readonly org: string; readonly repository: Repository; readonly digest: Digest; readonly tag: Tag },
  options: ReplicateOptions,
): Promise<ReplicateProgress> {
  const { containerd, client, signal } = options;
  const { repository, digest, tag } = image;
  const push: Push = {
    ...options,
    ns: containerd.namespace(orgNamespace(image.org)),
    repository,
    count: { sentBytes: 0, skippedBytes: 0 },
  };
  const { mediaType, bytes } = await pushChildren(push, digest);
  await client.pushManifest(repository, { kind: "tag", tag }, mediaType, bytes, signal);
  add(push, "sentBytes", bytes.length);
  await requireReadBack(push, digest, bytes);
  return { ...push.count };
}

/** Everything below a manifest; answers the manifest itself, which the caller sends. */
async function pushChildren(push: Push, digest: Digest): Promise<{ readonly mediaType: string; readonly bytes: Buffer }> {
  const { manifest, bytes } = await readLocal(push, digest);
  const children = childrenOf(manifest);
  if (manifest.kind === "image") await pushBlobs(push, children);
  else for (const child of children) await pushChild(push, child);
  return { mediaType: manifest.mediaType, bytes };
}

async function pushChild(push: Push, child: Descriptor): Promise<void> {
  if (!isImageManifestType(child.mediaType) && !isImageIndexType(child.mediaType)) return pushBlobs(push, [child]);
  const { repository, client, signal } = push;
  const reference = { kind: "digest", digest: child.digest } as const;
  // its own children are asked for all the same: a registry may have lost one
  const { mediaType, bytes } = await pushChildren(push, child.digest);
  if ((await client.resolveManifest(repository, reference, signal)) !== undefined) return add(push, "skippedBytes", bytes.length);
  await client.pushManifest(repository, reference, mediaType, bytes, signal);
  add(push, "sentBytes", bytes.length);
}

async function pushBlobs(push: Push, blobs: readonly Descriptor[]): Promise<void> {
  const waiting = [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
  const failed = new AbortController();
  const signal = AbortSignal.any([push.signal, failed.signal]);
  async function work(): Promise<void> {
    for (let blob = waiting.shift(); blob !== undefined && !signal.aborted; blob = waiting.shift()) {
      try {
        await pushBlob({ ...push, signal }, blob);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }
  }
  const results = await Promise.allSettled(Array.from({ length: mostBlobsAtOnce }, work));
  if (failed.signal.aborted) throw failed.signal.reason;
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

async function pushBlob(push: Push, { digest, size }: Descriptor): Promise<void> {
  const { ns, client, repository, signal } = push;
  if ((await client.statBlob(repository, digest, signal)) !== undefined) return add(push, "skippedBytes", size);
  const found = await statBlob(ns, digest, signal);
  if (found === undefined) throw new ImageVerificationError("CONTENT_MISSING", { repository, digest });
  const { sizeBytes } = found;
  let counted = 0;
  const open = (offset: number, openSignal: AbortSignal) =>
    readBlob(ns, digest, offset === 0 ? undefined : { first: offset, last: sizeBytes - 1 }, openSignal);
  const onProgress = (sent: number) => {
    // what is sent again after a broken connection is not counted again
    if (sent > counted) add(push, "sentBytes", sent - counted);
    counted = Math.max(counted, sent);
  };
  await client.pushBlob(repository, { digest, sizeBytes, open, onProgress }, signal);
}

async function readLocal(
  { ns, repository, signal }: Push,
  digest: Digest,
): Promise<{ readonly manifest: Manifest; readonly bytes: Buffer }> {
  try {
    const manifest = await readManifest(ns, digest, signal);
    return { manifest, bytes: await readBlobBytes(ns, digest, { limitBytes: manifestLimitBytes }, signal) };
  } catch (error) {
    if (isNotFound(error)) throw new ImageVerificationError("CONTENT_MISSING", { repository, digest }, { cause: error });
    throw error;
  }
}

/** Upstream's word that it took the manifest is not enough to let go of the only other copy. */
async function requireReadBack({ client, repository, signal }: Push, digest: Digest, bytes: Buffer): Promise<void> {
  const found = await client.readManifest(repository, { kind: "digest", digest }, signal);
  if (found === undefined || !bytes.equals(found.bytes)) {
    throw new ImageVerificationError("DIGEST_MISMATCH", {
      repository,
      upstream: client.baseUrl,
      expected: digest,
      found: found?.descriptor.digest,
    });
  }
}

function add(push: Push, key: keyof Count, bytes: number): void {
  push.count[key] += bytes;
  push.onProgress?.({ ...push.count });
}
