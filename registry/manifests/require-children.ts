import type { Descriptor } from "../../oci/descriptor.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type Manifest, childrenOf, parseManifest } from "../../oci/manifest.ts";
import { isImageIndexType, isImageManifestType } from "../../oci/media-types.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { concurrently } from "../concurrently.ts";
import { readManifest, statManifest } from "./manifest-content.ts";

export type ChildSources = { readonly bucket: Bucket; readonly blobs: Pick<BlobStore, "stat"> };

const lookUpsAtOnce = 32;
/** an index of indexes of images is what people have */
const deepestNesting = 3;
/** reading them is what an index of indexes costs */
const mostNestedIndexes = 64;

/**
 * All that a manifest names must be in its repository, of the size and the media type that it says. For a pusher what was found stays,
 * as `blobs.stat` has it.
 */
export async function requireChildren(
  sources: ChildSources,
  repository: Repository,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const children = [
    ...new Map(
      childrenOf(manifest)
        .filter(mustBeHere)
        // what is named twice may be named wrongly once
        .map((child) => [`${child.digest} ${child.size} ${child.mediaType}`, child]),
    ).values(),
  ];
  await concurrently(children, lookUpsAtOnce, (child) => requireChild(sources, repository, child, signal));
  await requireShallow(sources.bucket, repository, manifest, 1, { left: mostNestedIndexes }, signal);
}

/** Layers whose licence forbids distribution are fetched from elsewhere (image-spec, "Non-Distributable Layers"). */
function mustBeHere({ mediaType }: Descriptor): boolean {
  return !mediaType.includes(".nondistributable.") && !mediaType.includes(".foreign.");
}

async function requireChild(
  { bucket, blobs }: ChildSources,
  repository: Repository,
  { digest, mediaType, size }: Descriptor,
  signal: AbortSignal,
): Promise<void> {
  const asManifest = () => statManifest(bucket, repository, digest, signal);
  const asBlob = () => blobs.stat(repository, digest, signal);
  const namesManifest = isImageManifestType(mediaType) || isImageIndexType(mediaType);
  // an index may list blobs as well: BuildKit's cache is one
  const [first, second] = namesManifest ? [asManifest, asBlob] : [asBlob, asManifest];
  const found = (await first()) ?? (await second());
  if (found === undefined) throw new DistributionError("MANIFEST_BLOB_UNKNOWN", { digest });
  if (found.size !== size) throw new DistributionError("MANIFEST_INVALID", { digest, field: "size", found: size, expected: found.size });
  const isOtherType = namesManifest && found.mediaType !== "application/octet-stream" && found.mediaType !== mediaType;
  if (isOtherType)
    throw new DistributionError("MANIFEST_INVALID", { digest, field: "mediaType", found: mediaType, expected: found.mediaType });
}

async function requireShallow(
  bucket: Bucket,
  repository: Repository,
  manifest: Manifest,
  level: number,
  budget: { left: number },
  signal: AbortSignal,
): Promise<void> {
  if (level > deepestNesting) {
    throw new DistributionError("MANIFEST_INVALID", { field: "manifests", expected: `indexes at most ${deepestNesting} levels deep` });
  }
  for (const { digest, mediaType } of childrenOf(manifest)) {
    if (!isImageIndexType(mediaType)) continue;
    budget.left -= 1;
    if (budget.left < 0) throw new DistributionError("MANIFEST_INVALID", { expected: `at most ${mostNestedIndexes} indexes in an index` });
    const child = await readManifest(bucket, repository, digest, signal);
    if (child === undefined) continue;
    await requireShallow(bucket, repository, parseManifest(child.bytes, mediaType), level + 1, budget, signal);
  }
}
