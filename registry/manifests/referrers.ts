import { z } from "zod";
import type { Digest } from "../../oci/digest.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import { manifestLimitBytes } from "../../oci/manifest.ts";
import type { ReferrerDescriptor } from "../../oci/referrer.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ReferrerStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { startAfter, storageKeys } from "../bucket/storage-keys.ts";

const referrerRecord = z.object({
  mediaType: z.string(),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
  artifactType: z.string().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});

const mostEntries = 100;
/** each may be as large as a manifest */
const readAtOnce = 8;

/** One small object per referrer, so that pushes of many at a time never meet. */
export async function writeReferrer(
  bucket: Bucket,
  repository: Repository,
  subject: Digest,
  referrer: ReferrerDescriptor,
  signal: AbortSignal,
): Promise<void> {
  await bucket.put(storageKeys.referrer(repository, subject, referrer.artifactType, referrer.digest), formatRecord(referrer), signal);
}

export function createS3Referrers(bucket: Bucket): ReferrerStore {
  return {
    list: async (repository, subject, { limit = mostEntries, last, artifactType }, signal) => {
      if (limit === 0) return { referrers: [] };
      const all = storageKeys.referrers(repository, subject);
      const prefix = artifactType === undefined ? all : storageKeys.referrersOfType(repository, subject, artifactType);
      // one more than wanted tells whether there is a next page
      const page = { limit: Math.min(limit, mostEntries) + 1, ...(last === undefined ? {} : { startAfter: startAfter(all, last) }) };
      const keys = await bucket.list(prefix, page, signal);
      const read = await readPage(bucket, keys.slice(0, page.limit - 1), signal);
      const referrers = read.found.filter((found) => artifactType === undefined || found.artifactType === artifactType);
      const lastKey = keys[read.keyCount - 1];
      return read.keyCount < keys.length && lastKey !== undefined ? { referrers, next: lastKey.slice(all.length) } : { referrers };
    },
  };
}

/** As many as fit into an index that is no longer than a manifest may be, and one at least. */
async function readPage(bucket: Bucket, keys: readonly string[], signal: AbortSignal) {
  const found: ReferrerDescriptor[] = [];
  let [keyCount, sizeBytes] = [0, 0];
  for (let at = 0; at < keys.length; at += readAtOnce) {
    const objects = await Promise.all(keys.slice(at, at + readAtOnce).map((key) => bucket.get(key, signal)));
    for (const object of objects) {
      sizeBytes += object?.bytes.length ?? 0;
      if (sizeBytes > manifestLimitBytes && found.length > 0) return { found, keyCount };
      keyCount += 1;
      const referrer = parseRecord(referrerRecord, object);
      if (referrer !== undefined) found.push(referrer as ReferrerDescriptor);
    }
  }
  return { found, keyCount };
}
