import { z } from "zod";
import type { Descriptor } from "./descriptor.ts";
import { type Digest, isDigest } from "./digest.ts";
import { DistributionError } from "./errors.ts";
import { isImageIndexType, isImageManifestType } from "./media-types.ts";

/** distribution-spec: a registry should accept manifests of at least 4 megabytes; peers take exactly this. */
export const manifestLimitBytes = 4 * 1024 * 1024;

const digest = z.custom<Digest>((value) => typeof value === "string" && isDigest(value), "expected sha256:<64 hex> or sha512:<128 hex>");

const descriptor = z.object({
  mediaType: z.string().min(1),
  digest,
  size: z.number().int().nonnegative(),
  annotations: z.record(z.string(), z.string()).optional(),
  platform: z.object({ architecture: z.string(), os: z.string(), variant: z.string().optional() }).optional(),
});

const imageManifest = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  config: descriptor,
  layers: z.array(descriptor),
  subject: descriptor.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  manifests: z.undefined().optional(),
});

const imageIndex = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  manifests: z.array(descriptor),
  subject: descriptor.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  layers: z.undefined().optional(),
});

export type ImageManifest = {
  readonly kind: "image";
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
};

export type ImageIndex = {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
};

export type Manifest = ImageManifest | ImageIndex;

/**
 * Parses a manifest once, at the edge. The media type of the request decides what the bytes mean, and a `mediaType` inside that
 * says otherwise is refused: one digest must not have two meanings (GHSA-5j5w-g665-5m35).
 * @throws DistributionError MANIFEST_INVALID naming the field and what was expected.
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): Manifest {
  const json = parseJson(bytes);
  if (isImageManifestType(mediaType)) {
    const parsed = check(imageManifest, json, mediaType);
    return { kind: "image", mediaType, config: parsed.config as Descriptor, layers: parsed.layers as Descriptor[], ...subjectOf(parsed) };
  }
  if (isImageIndexType(mediaType)) {
    const parsed = check(imageIndex, json, mediaType);
    return { kind: "index", mediaType, manifests: parsed.manifests as Descriptor[], ...subjectOf(parsed) };
  }
  throw new DistributionError("MANIFEST_INVALID", { mediaType, expected: "an OCI or Docker schema 2 image manifest or index" });
}

/** Every blob or manifest that must be there before this manifest may be. The subject may come later (distribution-spec, "Pushing Manifests with Subject"). */
export function childrenOf(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === "image" ? [manifest.config, ...manifest.layers] : manifest.manifests;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new DistributionError("MANIFEST_INVALID", { expected: "JSON" }, { cause });
  }
}

function check<S extends typeof imageManifest | typeof imageIndex>(schema: S, json: unknown, mediaType: string): z.infer<S> {
  const result = schema.safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    throw new DistributionError("MANIFEST_INVALID", { field: issue.path.join("."), expected: issue.message });
  }
  if (result.data.mediaType !== undefined && result.data.mediaType !== mediaType) {
    throw new DistributionError("MANIFEST_INVALID", { field: "mediaType", found: result.data.mediaType, expected: mediaType });
  }
  return result.data as z.infer<S>;
}

function subjectOf(parsed: { subject?: unknown }): { subject?: Descriptor } {
  return parsed.subject === undefined ? {} : { subject: parsed.subject as Descriptor };
}
