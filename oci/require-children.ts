import type { Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import { DistributionError } from "./errors.ts";
import { type Manifest, childrenOf, parseManifest } from "./manifest.ts";
import { isImageIndexType, isImageManifestType } from "./media-types.ts";

/** The one repository that a manifest is pushed to. */
export type ChildSource = {
  /** Undefined when the repository lacks it. What was pushed as a blob has the type `application/octet-stream`. */
  stat(child: Descriptor): Promise<Descriptor | undefined>;
  /** The bytes of a manifest of the repository; undefined when it is none. */
  readManifest(digest: Digest): Promise<Uint8Array | undefined>;
};

const lookUpsAtOnce = 32;
/** an index of indexes of images is what people have */
const deepestNesting = 3;
/** reading them is what an index of indexes costs */
const mostNestedIndexes = 64;

/**
 * All that a manifest names must be in its repository, of the size and the media type that it says.
 * @throws DistributionError MANIFEST_BLOB_UNKNOWN, whose detail names all that are missing, MANIFEST_INVALID.
 */
export async function requireChildren(source: ChildSource, manifest: Manifest): Promise<void> {
  const children = requiredChildrenOf(manifest);
  const missing = new Set<Digest>();
  for (let at = 0; at < children.length; at += lookUpsAtOnce) {
    const looked = await Promise.allSettled(children.slice(at, at + lookUpsAtOnce).map((child) => isThere(source, child)));
    for (const [index, look] of looked.entries()) {
      if (look.status === "rejected") throw look.reason;
      if (!look.value) missing.add(children[at + index]!.digest);
    }
  }
  const [digest] = missing;
  // a client that hears of all of them need not ask for each, nor come once for each
  if (digest !== undefined)
    throw new DistributionError("MANIFEST_BLOB_UNKNOWN", { digest, ...(missing.size > 1 ? { digests: [...missing] } : {}) });
  await requireShallow(source, manifest, 1, { left: mostNestedIndexes });
}

/** Layers whose licence forbids distribution are fetched from elsewhere (image-spec, "Non-Distributable Layers"). */
function requiredChildrenOf(manifest: Manifest): readonly Descriptor[] {
  const mustBeHere = childrenOf(manifest).filter(
    ({ mediaType }) => !mediaType.includes(".nondistributable.") && !mediaType.includes(".foreign."),
  );
  // what is named twice may be named wrongly once
  return [...new Map(mustBeHere.map((child) => [`${child.digest} ${child.size} ${child.mediaType}`, child])).values()];
}

/** False when it is missing. @throws DistributionError MANIFEST_INVALID when it is not what the manifest says. */
async function isThere(source: ChildSource, child: Descriptor): Promise<boolean> {
  const { digest, mediaType, size } = child;
  const found = await source.stat(child);
  if (found === undefined) return false;
  if (found.size !== size) throw new DistributionError("MANIFEST_INVALID", { digest, field: "size", found: size, expected: found.size });
  const namesManifest = isImageManifestType(mediaType) || isImageIndexType(mediaType);
  const isOtherType = namesManifest && found.mediaType !== "application/octet-stream" && found.mediaType !== mediaType;
  if (isOtherType)
    throw new DistributionError("MANIFEST_INVALID", { digest, field: "mediaType", found: mediaType, expected: found.mediaType });
  return true;
}

async function requireShallow(source: ChildSource, manifest: Manifest, level: number, budget: { left: number }): Promise<void> {
  if (level > deepestNesting) {
    throw new DistributionError("MANIFEST_INVALID", { field: "manifests", expected: `indexes at most ${deepestNesting} levels deep` });
  }
  for (const { digest, mediaType } of childrenOf(manifest)) {
    if (!isImageIndexType(mediaType)) continue;
    budget.left -= 1;
    if (budget.left < 0) throw new DistributionError("MANIFEST_INVALID", { expected: `at most ${mostNestedIndexes} indexes in an index` });
    const child = await source.readManifest(digest);
    if (child === undefined) continue;
    await requireShallow(source, parseManifest(child, mediaType), level + 1, budget);
  }
}
