import { concurrentlyOrStop } from "../../config/concurrently.ts";
import { orgNamespace } from "../../config/paths.ts";
import type { Containerd, ContainerdNamespace } from "../../containerd/client.ts";
import { readBlob, statBlob } from "../../containerd/content.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { DistributionClient, UploadMemory } from "../../oci/distribution-client.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import { ImageVerificationError } from "../images/image-verification-error.ts";
import { type ImageTree, readImageTree, treeSizeBytes } from "./image-tree.ts";
import type { Pace } from "./pace.ts";
import type { UnfinishedUploads } from "./unfinished-uploads.ts";

/** What an attempt has sent so far, what upstream had already, and both together once it is done. */
export type ReplicateProgress = { readonly sentBytes: number; readonly skippedBytes: number; readonly totalBytes: number };

export type ReplicateOptions = {
  readonly containerd: Containerd;
  /** speaks to upstream */
  readonly client: DistributionClient;
  readonly uploads: UnfinishedUploads;
  readonly signal: AbortSignal;
  /** absent: as fast as the link is */
  readonly pace?: Pace;
  readonly onProgress?: (progress: ReplicateProgress) => void;
};

type Push = Omit<ReplicateOptions, "containerd"> & {
  readonly ns: ContainerdNamespace;
  readonly repository: Repository;
  readonly count: { sentBytes: number; skippedBytes: number; totalBytes: number };
};

const mostBlobsAtOnce = 3;

/**
 * Sends an image, or an index and all it names, to the same repository upstream: children first, only what is missing there, the
 * manifest last; then reads the manifest back by its digest. A blob of which upstream has a part goes on from there. The image must be
 * pinned for as long as this runs.
 * @throws UpstreamError, ImageVerificationError CONTENT_MISSING for what this host has lost, DIGEST_MISMATCH for what came back.
 */
export async function pushUpstream(
  image: { readonly org: string; readonly repository: Repository; readonly digest: Digest; readonly tag: Tag },
  options: ReplicateOptions,
): Promise<ReplicateProgress> {
  const { containerd, client, uploads, signal } = options;
  const { repository, digest, tag } = image;
  const ns = containerd.namespace(orgNamespace(image.org));
  await uploads.sweep();
  const tree = await readImageTree(ns, { repository, digest }, signal);
  const push: Push = { ...options, ns, repository, count: { sentBytes: 0, skippedBytes: 0, totalBytes: treeSizeBytes(tree) } };
  await pushChildren(push, tree);
  await client.pushManifest(repository, { kind: "tag", tag }, tree.mediaType, tree.bytes, signal);
  add(push, "sentBytes", tree.bytes.length);
  await requireReadBack(push, tree);
  return { ...push.count };
}

async function pushChildren(push: Push, { blobs, manifests }: ImageTree): Promise<void> {
  await pushBlobs(push, blobs);
  for (const child of manifests) await pushManifest(push, child);
}

async function pushManifest(push: Push, tree: ImageTree): Promise<void> {
  const { repository, client, signal } = push;
  const reference = { kind: "digest", digest: tree.digest } as const;
  // its own children are asked for all the same: a registry may have lost one
  await pushChildren(push, tree);
  if ((await client.resolveManifest(repository, reference, signal)) !== undefined) return add(push, "skippedBytes", tree.bytes.length);
  await client.pushManifest(repository, reference, tree.mediaType, tree.bytes, signal);
  add(push, "sentBytes", tree.bytes.length);
}

async function pushBlobs(push: Push, blobs: readonly Descriptor[]): Promise<void> {
  await concurrentlyOrStop(blobs, { atATime: mostBlobsAtOnce, signal: push.signal }, (blob, signal) => pushBlob({ ...push, signal }, blob));
}

async function pushBlob(push: Push, { digest, size }: Descriptor): Promise<void> {
  const { ns, client, repository, uploads, signal } = push;
  if ((await client.statBlob(repository, digest, signal)) !== undefined) return add(push, "skippedBytes", size);
  const found = await statBlob(ns, digest, signal);
  if (found === undefined) throw new ImageVerificationError("CONTENT_MISSING", { repository, digest });
  const { sizeBytes } = found;
  await uploads.alone({ registryUrl: client.baseUrl, repository, digest }, signal, async (memory) => {
    // another image's replication may have sent it by now
    if ((await client.statBlob(repository, digest, signal)) !== undefined) return add(push, "skippedBytes", size);
    await sendBlob(push, { digest, sizeBytes }, memory);
  });
}

async function sendBlob(push: Push, { digest, sizeBytes }: { digest: Digest; sizeBytes: number }, memory: UploadMemory): Promise<void> {
  const { ns, client, repository, pace, signal } = push;
  let counted = 0;
  const open = (offset: number, openSignal: AbortSignal, length: number) => {
    const range = length === 0 ? undefined : { first: offset, last: offset + length - 1 };
    const stream = readBlob(ns, digest, range, openSignal);
    return pace === undefined ? stream : pace.slow(stream, openSignal);
  };
  const onResume = (offset: number) => {
    counted = offset;
    add(push, "skippedBytes", offset);
  };
  const onProgress = (sent: number) => {
    // what is sent again after a broken connection is not counted again
    if (sent > counted) add(push, "sentBytes", sent - counted);
    counted = Math.max(counted, sent);
  };
  await client.pushBlob(repository, { digest, sizeBytes, open, onProgress, onResume, memory }, signal);
}

/** Upstream's word that it took the manifest is not enough to let go of the only other copy. */
async function requireReadBack({ client, repository, signal }: Push, { digest, bytes }: ImageTree): Promise<void> {
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

function add(push: Push, key: "sentBytes" | "skippedBytes", bytes: number): void {
  push.count[key] += bytes;
  push.onProgress?.({ ...push.count });
}
