import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

/** Takes a blob out of one repository; its bytes go when nothing names them any more. @returns false when the repository has it not. */
export async function unlinkBlob(
  bucket: Bucket,
  blobs: Pick<BlobStore, "stat">,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  if ((await blobs.stat(repository, digest, signal)) === undefined) return false;
  await bucket.delete(storageKeys.blob(repository, digest), signal);
  return true;
}
