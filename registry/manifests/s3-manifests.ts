import type { BlobStore, DeleteStore, ManifestStore, ReferrerStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { within } from "./deadline.ts";
import { deleteManifest } from "./deletion.ts";
import { readManifest, statManifest } from "./manifest-content.ts";
import { createS3Referrers } from "./referrers.ts";
import { listTags } from "./tag-list.ts";
import { deleteTag, readTag } from "./tag-records.ts";
import { writeManifest } from "./write-manifest.ts";

/** far less than the grace of the collector, which relies on it: what a push found in the beginning is still there at its end */
const writeTimeoutMs = 60_000;
const deleteTimeoutMs = 60_000;

export type S3Manifests = {
  readonly manifests: ManifestStore;
  readonly referrers: ReferrerStore;
  readonly deletes: Pick<DeleteStore, "manifest" | "tag">;
};

/** Manifests, tags and referrers in a bucket. A manifest is accepted only when all that it names is in its repository. */
export function createS3Manifests(bucket: Bucket, blobs: Pick<BlobStore, "stat">): S3Manifests {
  const resolve: ManifestStore["resolve"] = (repository, reference, signal) =>
    reference.kind === "tag"
      ? readTag(bucket, repository, reference.tag, signal)
      : statManifest(bucket, repository, reference.digest, signal);
  return {
    manifests: {
      resolve,
      read: async (repository, reference, signal) => {
        const digest = reference.kind === "digest" ? reference.digest : (await resolve(repository, reference, signal))?.digest;
        return digest === undefined ? undefined : readManifest(bucket, repository, digest, signal);
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
