import type { Descriptor } from "./descriptor.ts";
import type { Manifest } from "./manifest.ts";

/** How a manifest is told of in the list of its subject's referrers (distribution-spec, "Listing Referrers"). */
export type ReferrerDescriptor = Descriptor & { readonly artifactType?: string };

/** The entry of `manifest`, which `descriptor` describes, among the referrers of its subject. */
export function referrerOf(manifest: Manifest, { mediaType, digest, size }: Descriptor): ReferrerDescriptor {
  // an index has no config that could stand in
  const artifactType = manifest.artifactType || (manifest.kind === "image" ? manifest.config.mediaType : undefined);
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
}
