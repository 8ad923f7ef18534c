import type { Descriptor } from "../../oci/descriptor.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobStore, DeleteStore, ManifestStore, ReferrerStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { within } from "./deadline.ts";
import { deleteManifest } from "./deletion.ts";
import { createManifestCache } from "./manifest-cache.ts";
import { readManifest, statManifest } from "./manifest-content.ts";
import { createS3Referrers } from "./referrers.ts";
import { listTags } from "./tag-list.ts";
import { deleteTag, readTag } from "./tag-records.ts";
import { writeManifest } from "./write-manifest.ts";

/** far less than the grace of the collector, which relies on it: what a push found in the beginning is still there at its end */
const writeTimeoutMs = 60_000;
const deleteTimeoutMs = 60_000;
const cacheBytes = 8 * 1024 * 1024;

export type S3Manifests = {
  readonly manifests: ManifestStore;
  readonly referrers: ReferrerStore;
  readonly deletes: Pick<DeleteStore, "manifest" | "tag">;
};

/** Manifests, tags and referrers in a bucket. A manifest is accepted only when all that it names is in its repository. */
export function createS3Manifests(bucket: Bucket, blobs: Pick<BlobStore, "stat">): S3Manifests {
  const cache = createManifestCache(cacheBytes);
  const resolve: ManifestStore["resolve"] = (repository, reference, signal) =>
    reference.kind === "tag"
      ? readTag(bucket, repository, reference.tag, signal)
      : statManifest(bucket, repository, reference.digest, signal);
  // a manifest goes only after the tags that name it: what a tag names at this moment is there
  const readTagged = async (repository: Repository, descriptor: Descriptor, signal: AbortSignal) => {
    const bytes = cache.get(repository, descriptor);
    if (bytes !== undefined) return { descriptor, bytes };
    const found = await readManifest(bucket, repository, descriptor.digest, signal);
    if (found !== undefined) cache.keep(repository, found.descriptor, found.bytes);
    return found;
  };
  return {
    manifests: {
      resolve,
      read: async (repository, reference, signal) => {
        if (reference.kind === "digest") return readManifest(bucket, repository, reference.digest, signal);
        const descriptor = await readTag(bucket, repository, reference.tag, signal);
        return descriptor === undefined ? undefined : readTagged(repository, descriptor, signal);
      },
      write: (repository, reference, mediaType, bytes, signal, { tags = [], ...rule } = {}) =>
        within(writeTimeoutMs, signal, (bounded) =>
          writeManifest({ bucket, blobs }, { repository, reference, mediaType, bytes, tags, ...rule }, bounded),
        ),
      tags: (repository, page, signal) => listTags(bucket, repository, page, signal),
    },
    referrers: createS3Referrers(bucket),
    // a client that goes away does not stop in the middle what it has begun
    deletes: {
      manifest: (repository, digest) =>
        within(deleteTimeoutMs, undefined, (bounded) => deleteManifest(bucket, repository, digest, bounded)),
      tag: (repository, tag) => within(deleteTimeoutMs, undefined, (bounded) => deleteTag(bucket, repository, tag, undefined, bounded)),
    },
  };
}
