import { concurrentlyOrStop } from "../../config/concurrently.ts";
import type { ContainerdNamespace } from "../../containerd/client.ts";
import { keepExisting, statBlob } from "../../containerd/content.ts";
import { getImage } from "../../containerd/images.ts";
import { isRunnable, selectPlatform } from "../../containerd/image.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type ImageIndex, type ImageManifest, parseManifest } from "../../oci/manifest.ts";
import { isImageManifestType } from "../../oci/media-types.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";
import { ImageVerificationError } from "../images/image-verification-error.ts";
import { verifyStoredImage } from "../images/verify-stored-image.ts";
import { statMember } from "../store/blob-store.ts";
import type { FetchedContent } from "../store/fetched-content.ts";
import { imageNames, membership } from "../store/org-repository.ts";
import type { PushSession, PushSessions } from "../store/push-sessions.ts";
import type { FetchingStore } from "./fetching-store.ts";
import type { ReadableStore } from "./readable-store.ts";

export type WantedImage = {
  readonly repository: Repository;
  readonly digest: Digest;
  /** names the image on this host as well, once it is ready */
  readonly tag?: Tag | undefined;
};

export type ReadyImage = {
  /** what was asked for; of an index of which only this host's image could be stored, that image's */
  readonly digest: Digest;
  /** of the image that this host runs: manifest, config and layers */
  readonly sizeBytes: number;
  /** of config and layers that were not here before */
  readonly fetchedBytes: number;
};

export type ImageFetchParts = {
  readonly ns: ContainerdNamespace;
  readonly imageHost: string;
  readonly snapshotter: string;
  readonly sessions: PushSessions;
  readonly fetched: FetchedContent;
  /** what this host has */
  readonly local: ReadableStore;
  /** where the rest comes from, into `fetched` */
  readonly durable: (fetched: FetchedContent) => FetchingStore;
};

const blobsAtOnce = 3;
/** A fetch that a puller has begun may keep nothing; the next is our own. */
const mostTries = 2;

type Work = ImageFetchParts & { readonly session: PushSession; readonly wanted: WantedImage; readonly signal: AbortSignal };

/**
 * Makes an image ready to start from: what is missing of it is fetched and unpacked, and it is recorded.
 * @throws DistributionError MANIFEST_UNKNOWN or BLOB_UNKNOWN when nobody has it, UNAVAILABLE, DISK_FULL, QUOTA_EXCEEDED;
 * ImageVerificationError when all of it is here and no machine can start from it.
 */
export async function fetchImage(parts: ImageFetchParts, wanted: WantedImage, signal: AbortSignal): Promise<ReadyImage> {
  const ready = await findReady(parts, wanted, signal);
  if (ready !== undefined) return ready;
  // one lease over all of it
  const { digest, fetchedBytes } = await parts.sessions.within(wanted.repository, signal, async (session) => {
    const work = { ...parts, session, wanted, signal };
    const content = await readManifest(work, wanted.digest);
    const manifest = parseManifest(content.bytes, content.descriptor.mediaType);
    if (manifest.kind === "index") return await fetchIndex(work, content, manifest);
    const fetchedBytes = await fetchBlobs(work, manifest);
    await parts.fetched.store(wanted.repository, content, tagsOf(wanted), signal);
    return { digest: wanted.digest, fetchedBytes };
  });
  const { sizeBytes } = await verify(parts, wanted.repository, digest, signal);
  return { digest, sizeBytes, fetchedBytes };
}

const tagsOf = ({ tag }: WantedImage): readonly Tag[] => (tag === undefined ? [] : [tag]);

const verify = ({ ns, snapshotter }: ImageFetchParts, repository: Repository, digest: Digest, signal: AbortSignal) =>
  verifyStoredImage(ns, { repository, digest, snapshotter }, signal);

/** What is recorded and whole needs no fetch. */
async function findReady(
  parts: ImageFetchParts,
  { repository, digest, tag }: WantedImage,
  signal: AbortSignal,
): Promise<ReadyImage | undefined> {
  const { ns, imageHost } = parts;
  const name = tag === undefined ? imageNames.byDigest(imageHost, repository, digest) : imageNames.tagged(imageHost, repository, tag);
  if ((await getImage(ns, name, signal))?.target.digest !== digest) return undefined;
  try {
    const { sizeBytes } = await verify(parts, repository, digest, signal);
    parts.fetched.used(repository, digest);
    return { digest, sizeBytes, fetchedBytes: 0 };
  } catch (error) {
    if (error instanceof ImageVerificationError) return undefined;
    throw error;
  }
}

async function readManifest({ local, durable, fetched, wanted, signal }: Work, digest: Digest): Promise<ManifestContent> {
  const reference = { kind: "digest", digest } as const;
  const found = await local.manifests.read(wanted.repository, reference, signal);
  // it is stored here when its time has come, and not by whoever sees it whole
  const content = found ?? (await durable({ ...fetched, expect: () => undefined }).manifests.read(wanted.repository, reference, signal));
  if (content === undefined) throw new DistributionError("MANIFEST_UNKNOWN", { repository: wanted.repository, digest });
  return content;
}

/**
 * The image for this host, and what describes it; never other platforms' images. The index itself is stored when that is all it names, as
 * nothing may be stored whose children are not here: else the tag names the image.
 */
async function fetchIndex(work: Work, content: ManifestContent, index: ImageIndex): Promise<Pick<ReadyImage, "digest" | "fetchedBytes">> {
  const { fetched, wanted, ns, signal } = work;
  const { repository, digest } = wanted;
  const ours = selectPlatform(index.manifests);
  if (ours === undefined) {
    throw new ImageVerificationError("IMAGE_INVALID", { digest, found: "an index without an image for this host's platform" });
  }
  const children = index.manifests.filter((child) => child === ours || describesImage(child));
  let fetchedBytes = 0;
  const read = new Map<Descriptor, ManifestContent>();
  for (const child of children) {
    const childContent = await readManifest(work, child.digest);
    const manifest = parseManifest(childContent.bytes, childContent.descriptor.mediaType);
    if (manifest.kind === "index" || (child === ours && !isRunnable(manifest))) {
      throw new ImageVerificationError("IMAGE_INVALID", { digest: child.digest, found: "something else than an image in an index" });
    }
    fetchedBytes += await fetchBlobs(work, manifest);
    read.set(child, childContent);
  }
  const isWhole = await everyOne(
    index.manifests,
    async (child) => read.has(child) || (await statMember(ns, repository, child.digest, signal)) !== undefined,
  );
  const childTags = (child: Descriptor) => (child === ours && !isWhole ? tagsOf(wanted) : []);
  for (const [child, childContent] of read)
    if (isWhole || child === ours) await fetched.store(repository, childContent, childTags(child), signal);
  if (!isWhole) return { digest: ours.digest, fetchedBytes };
  await fetched.store(repository, content, tagsOf(wanted), signal);
  return { digest, fetchedBytes };
}

/** An attestation, as BuildKit adds them to an index. */
const describesImage = ({ mediaType, platform }: Descriptor): boolean =>
  isImageManifestType(mediaType) && (platform === undefined || platform.os === "unknown");

async function everyOne<T>(items: readonly T[], holds: (item: T) => Promise<boolean>): Promise<boolean> {
  for (const item of items) if (!(await holds(item))) return false;
  return true;
}

/** Config and layers, a few at once. Answers the bytes that were not here before. */
async function fetchBlobs(work: Work, { config, layers }: ImageManifest): Promise<number> {
  const blobs = new Map([config, ...layers].map((blob) => [blob.digest, blob])).values();
  let fetchedBytes = 0;
  await concurrentlyOrStop(blobs, { atATime: blobsAtOnce, signal: work.signal }, async (blob, signal) => {
    const sizeBytes = await fetchBlob({ ...work, signal }, blob);
    fetchedBytes += sizeBytes;
  });
  return fetchedBytes;
}

async function fetchBlob(work: Work, { digest, size }: Descriptor): Promise<number> {
  const { ns, session, wanted, durable, fetched, signal } = work;
  if (await holdHere(work, digest)) return 0;
  for (let attempt = 1; attempt <= mostTries; attempt += 1) {
    let refusal: { readonly error: unknown } | undefined;
    const keep: FetchedContent["keep"] = (repository, kept, sizeBytes) =>
      fetched.keep(repository, kept, sizeBytes, (error) => (refusal ??= { error }));
    await durable({ ...fetched, keep }).receive(wanted.repository, { digest, size }, signal);
    if ((await statMember(ns, wanted.repository, digest, signal)) !== undefined) {
      await session.pin(digest, signal);
      return size;
    }
    if (refusal !== undefined) throw refusal.error;
  }
  throw new DistributionError("UNAVAILABLE", { digest, reason: "it was fetched and could not be kept; the mirror's log says why" });
}

/** Another repository of the org may have it: that a manifest of this one names it makes it this one's. */
async function holdHere({ ns, session, wanted, signal }: Work, digest: Digest): Promise<boolean> {
  if ((await statBlob(ns, digest, signal)) === undefined) return false;
  await session.pin(digest, signal);
  const stat = await statBlob(ns, digest, signal);
  if (stat === undefined) return false;
  if (!membership.includes(wanted.repository, stat))
    await keepExisting(session.ns, digest, membership.blobLabels(wanted.repository), signal);
  return true;
}
