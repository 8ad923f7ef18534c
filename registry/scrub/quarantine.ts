import type { Digest } from "../../oci/digest.ts";
import type { RecordLife } from "../blobs/record-life.ts";
import { type RecordObject, markRecord, readRecordObject } from "../blobs/record-object.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys } from "../bucket/storage-keys.ts";
import { walkRepositories } from "../garbage/walk-repositories.ts";

/**
 * Takes damaged bytes out of use: their digest counts as absent, everywhere, until somebody pushes it again. The digest comes first, so
 * that no link is made to the damaged bytes after this has passed by.
 * @returns whether the digest is quarantined now; false when it changed meanwhile
 */
export async function quarantineBlob(bucket: Bucket, digest: Digest, found: RecordObject, signal: AbortSignal): Promise<boolean> {
  const life: RecordLife = { state: "quarantined", atMs: Date.now() };
  // one that is marked already may have been left before all links were
  if (found.life.state !== "quarantined" && !(await markRecord(bucket, storageKeys.digest(digest), found, life, signal))) return false;
  for await (const repository of walkRepositories(bucket, signal)) {
    const key = storageKeys.blob(repository, digest);
    for (let isDone = false; !isDone;) {
      const link = await readRecordObject(bucket, key, signal);
      isDone =
        link?.record.key !== found.record.key ||
        link.life.state === "dying" ||
        link.life.state === "quarantined" ||
        (await markRecord(bucket, key, link, life, signal));
    }
  }
  return true;
}
