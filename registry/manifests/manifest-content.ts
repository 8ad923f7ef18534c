import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestOf } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

export async function statManifest(
  bucket: Bucket,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<Descriptor | undefined> {
  const found = await bucket.head(storageKeys.manifest(repository, digest), signal);
  return found === undefined ? undefined : { mediaType: found.contentType, digest, size: found.sizeBytes };
}

/** @throws DistributionError UNAVAILABLE when the bucket gives other bytes than were stored. */
export async function readManifest(
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

/** One digest has one media type in a repository, as long as it is there. */
export async function storeManifest(
  bucket: Bucket,
  repository: Repository,
  { digest, mediaType }: Descriptor,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const key = storageKeys.manifest(repository, digest);
  if (await bucket.putIf({ if: "absent" }, key, bytes, signal, mediaType)) return;
  const found = await bucket.head(key, signal);
  if (found !== undefined && found.contentType !== mediaType) {
    throw new DistributionError("MANIFEST_INVALID", { field: "mediaType", found: mediaType, expected: found.contentType });
  }
}
