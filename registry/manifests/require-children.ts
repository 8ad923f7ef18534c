import type { Manifest } from "../../oci/manifest.ts";
import { isImageIndexType, isImageManifestType } from "../../oci/media-types.ts";
import type { Repository } from "../../oci/repository.ts";
import { type ChildSource, requireChildren as requireChildrenFrom } from "../../oci/require-children.ts";
import type { BlobStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { readManifest, statManifest } from "./manifest-content.ts";

export type ChildSources = { readonly bucket: Bucket; readonly blobs: Pick<BlobStore, "stat"> };

/**
 * All that a manifest names must be in its repository, of the size and the media type that it says. For a pusher what was found stays,
 * as `blobs.stat` has it.
 */
export async function requireChildren(
  { bucket, blobs }: ChildSources,
  repository: Repository,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const source: ChildSource = {
    async stat({ digest, mediaType }) {
      const asManifest = () => statManifest(bucket, repository, digest, signal);
      const asBlob = () => blobs.stat(repository, digest, signal);
      const namesManifest = isImageManifestType(mediaType) || isImageIndexType(mediaType);
      // an index may list blobs as well: BuildKit's cache is one
      const [first, second] = namesManifest ? [asManifest, asBlob] : [asBlob, asManifest];
      return (await first()) ?? (await second());
    },
    readManifest: async (digest) => (await readManifest(bucket, repository, digest, signal))?.bytes,
  };
  await requireChildrenFrom(source, manifest);
}
