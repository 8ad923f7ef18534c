import { z } from "zod";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestOf, isDigest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { childrenOf, parseManifest } from "../../oci/manifest.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import { type Repository, type Tag, isTag } from "../../oci/repository.ts";
import type { BlobStore, ManifestContent, ManifestStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

const tagRecord = z.object({
  mediaType: z.string(),
  digest: z.custom<Digest>((value) => typeof value === "string" && isDigest(value)),
  size: z.number().int().nonnegative(),
});

const mostTagConflicts = 10;

/** Manifests and tags in a bucket. A manifest is accepted only when all that it names is in its repository. */
export function createS3Manifests(bucket: Bucket, blobs: BlobStore): ManifestStore {
  const resolve: ManifestStore["resolve"] = async (repository, reference, signal) => {
    if (reference.kind === "tag") return parseRecord(tagRecord, await bucket.get(storageKeys.tag(repository, reference.tag), signal));
    const found = await bucket.head(storageKeys.manifest(repository, reference.digest), signal);
    return found === undefined ? undefined : { mediaType: found.contentType, digest: reference.digest, size: found.sizeBytes };
  };
  return {
    resolve,
    read: async (repository, reference, signal) => {
      const descriptor = reference.kind === "tag" ? await resolve(repository, reference, signal) : undefined;
      const digest = reference.kind === "tag" ? descriptor?.digest : reference.digest;
      return digest === undefined ? undefined : readManifest(bucket, repository, digest, signal);
    },
    write: async (repository, reference, mediaType, bytes, signal) => {
      const descriptor = { mediaType, digest: digestFor(reference, bytes), size: bytes.length };
      await requireChildren(bucket, blobs, repository, childrenOf(parseManifest(bytes, mediaType)), signal);
      await storeManifest(bucket, repository, descriptor, bytes, signal);
      if (reference.kind === "tag") await moveTag(bucket, repository, reference.tag, descriptor, signal);
      return descriptor;
    },
    tags: async (repository, { limit, last }, signal) => {
      const prefix = storageKeys.tags(repository);
      const page = { ...(limit === undefined ? {} : { limit }), ...(last === undefined ? {} : { startAfter: prefix + last }) };
      const keys = await bucket.list(prefix, page, signal);
      if (keys.length === 0 && (await bucket.list(storageKeys.repository(repository), { limit: 1 }, signal)).length === 0) return undefined;
      return keys.map((key) => key.slice(prefix.length)).filter(isTag);
    },
  };
}

function digestFor(reference: ManifestReference, bytes: Uint8Array): Digest {
  if (reference.kind === "tag") return digestOf(bytes);
  const found = digestOf(bytes, digestAlgorithm(reference.digest));
  if (found !== reference.digest) throw new DistributionError("DIGEST_INVALID", { expected: reference.digest, found });
  return found;
}

async function readManifest(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<ManifestContent | undefined> {
  const found = await bucket.get(storageKeys.manifest(repository, digest), signal);
  if (found === undefined) return undefined;
  if (digestOf(found.bytes, digestAlgorithm(digest)) !== digest) {
    throw new DistributionError("UNAVAILABLE", { reason: "a manifest in the bucket is damaged", digest });
  }
  return { descriptor: { mediaType: found.contentType, digest, size: found.bytes.length }, bytes: found.bytes };
}

async function requireChildren(
  bucket: Bucket,
  blobs: BlobStore,
  repository: Repository,
  children: readonly Descriptor[],
  signal: AbortSignal,
): Promise<void> {
  const sizeOf = async ({ digest }: Descriptor): Promise<number | undefined> =>
    (await blobs.stat(repository, digest, signal))?.size ??
    (await bucket.head(storageKeys.manifest(repository, digest), signal))?.sizeBytes;
  const unique = [...new Map(children.filter(mustBeHere).map((child) => [child.digest, child])).values()];
  await Promise.all(
    unique.map(async (child) => {
      const found = await sizeOf(child);
      if (found === undefined) throw new DistributionError("MANIFEST_BLOB_UNKNOWN", { digest: child.digest });
      if (found !== child.size) throw new DistributionError("MANIFEST_INVALID", { digest: child.digest, size: child.size, found });
    }),
  );
}

/** Layers whose licence forbids distribution are fetched from elsewhere (image-spec, "Non-Distributable Layers"). */
function mustBeHere({ mediaType }: Descriptor): boolean {
  return !mediaType.includes(".nondistributable.") && !mediaType.includes(".foreign.");
}

/** One digest has one media type in a repository, for good. */
async function storeManifest(
  bucket: Bucket,
  repository: Repository,
  descriptor: Descriptor,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const key = storageKeys.manifest(repository, descriptor.digest);
  if (await bucket.putIf({ if: "absent" }, key, bytes, signal, descriptor.mediaType)) return;
  const found = await bucket.head(key, signal);
  if (found !== undefined && found.contentType !== descriptor.mediaType) {
    throw new DistributionError("MANIFEST_INVALID", { field: "mediaType", found: descriptor.mediaType, expected: found.contentType });
  }
}

async function moveTag(bucket: Bucket, repository: Repository, tag: Tag, descriptor: Descriptor, signal: AbortSignal): Promise<void> {
  const key = storageKeys.tag(repository, tag);
  for (let attempt = 1; attempt <= mostTagConflicts; attempt += 1) {
    const current = await bucket.get(key, signal);
    if (parseRecord(tagRecord, current)?.digest === descriptor.digest) return;
    const condition = current === undefined ? ({ if: "absent" } as const) : ({ if: "unchanged", etag: current.etag } as const);
    if (await bucket.putIf(condition, key, formatRecord(descriptor), signal)) return;
  }
  throw new DistributionError("UNAVAILABLE", { reason: "too many writers of one tag", tag });
}
