import type { Descriptor } from "../../oci/descriptor.ts";
import type { Repository } from "../../oci/repository.ts";
import { establishRecord } from "../blobs/record-object.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

/**
 * Says that the list of a source's packs is wanted: before it is pushed, and with each push anew. Other manifests stay until they are
 * deleted, a list only until the collector finds its record old.
 * @throws DistributionError UNAVAILABLE while the collector removes it
 */
export async function claimSource(
  bucket: Bucket,
  repository: Repository,
  { digest, size }: Pick<Descriptor, "digest" | "size">,
  signal: AbortSignal,
): Promise<void> {
  const record = { key: storageKeys.manifest(repository, digest), sizeBytes: size };
  await establishRecord(bucket, storageKeys.source(repository, digest), { record, prefer: "existing" }, signal);
}
