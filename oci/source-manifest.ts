import type { Descriptor } from "./descriptor.ts";
import { digestOf } from "./digest.ts";
import { DistributionError } from "./errors.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import { mediaTypes } from "./media-types.ts";
import { sourceArtifactType } from "./source-type.ts";

/** A pack is a run of whole tar entries, or a part of one large file: no tar that stands for itself. */
const packMediaType = "application/vnd.slipway.source.pack.v1";

/** What an artifact without a config names as one (image-spec, "Guidance for an Empty Descriptor"). */
export const emptyConfig = { bytes: Buffer.from("{}"), digest: digestOf("{}"), sizeBytes: 2 } as const;

export type SourcePack = Pick<Descriptor, "digest" | "size">;

/** The list of a source's packs, as an OCI artifact; its digest is the source's. The same packs give the same bytes. */
export function formatSourceManifest(packs: readonly SourcePack[]): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.imageManifest,
      artifactType: sourceArtifactType,
      config: { mediaType: mediaTypes.emptyJson, digest: emptyConfig.digest, size: emptyConfig.sizeBytes },
      layers: packs.map(({ digest, size }) => ({ mediaType: packMediaType, digest, size })),
    }),
  );
}

export const isSourceManifest = (manifest: Manifest): boolean => manifest.artifactType === sourceArtifactType;

/** The packs whose bytes, one after another, are the source's tar. @throws DistributionError MANIFEST_INVALID for what lists none. */
export function parseSourceManifest(bytes: Uint8Array, mediaType: string): readonly SourcePack[] {
  const manifest = parseManifest(bytes, mediaType);
  if (manifest.kind === "image" && isSourceManifest(manifest)) return manifest.layers;
  throw new DistributionError("MANIFEST_INVALID", {
    field: "artifactType",
    found: manifest.artifactType ?? "none",
    expected: sourceArtifactType,
  });
}
