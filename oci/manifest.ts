import { z } from "zod";
import type { Descriptor } from "./descriptor.ts";
import { digestAlgorithm, digestOf } from "./digest.ts";
import { digestSchema } from "./digest-schema.ts";
import { DistributionError } from "./errors.ts";
import { isDockerSchema1Type, isImageIndexType, isImageManifestType } from "./media-types.ts";
import { mostSourcePacks, sourceArtifactType } from "./source-type.ts";
import { parseStrictJson } from "./strict-json.ts";

/** distribution-spec: a registry should accept manifests of at least 4 megabytes; peers take exactly this. */
export const manifestLimitBytes = 4 * 1024 * 1024;

/** What container runtimes can stack at most. */
export const mostLayers = 127;

/** Far above any image's platforms and attestations; each costs a look-up when the index is pushed. */
export const mostIndexEntries = 1000;

const annotations = z.record(z.string(), z.string()).optional();
const absent = z.undefined("a field that belongs to another kind of manifest").optional();

const platform = z.object({ architecture: z.string(), os: z.string(), variant: z.string().optional() });

const descriptor = z.object({
  mediaType: z.string().min(1),
  digest: digestSchema,
  size: z.number().int().nonnegative(),
  annotations,
  artifactType: z.string().optional(),
  data: z.string().optional(),
  urls: z.array(z.string()).optional(),
  platform: platform.optional(),
});

const common = { schemaVersion: z.literal(2), mediaType: z.string().optional(), artifactType: z.string().optional(), annotations };

const imageManifest = z.object({
  ...common,
  config: descriptor,
  layers: z.array(descriptor),
  subject: descriptor.optional(),
  manifests: absent,
  fsLayers: absent,
});

const imageIndex = z.object({
  ...common,
  manifests: z.array(descriptor),
  subject: descriptor.optional(),
  config: absent,
  layers: absent,
  fsLayers: absent,
});

/** Go's decoder, which most clients have, takes a field's name in any case; so one in another case would be read by some and not by others. */
const fields = byFoldedName([imageManifest, imageIndex, descriptor].flatMap(({ shape }) => Object.keys(shape)));
const platformFields = byFoldedName([...Object.keys(platform.shape), "os.version", "os.features"]);

type ManifestFields = {
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: Descriptor;
};

export type ImageManifest = ManifestFields & {
  readonly kind: "image";
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
};

export type ImageIndex = ManifestFields & { readonly kind: "index"; readonly manifests: readonly Descriptor[] };

export type Manifest = ImageManifest | ImageIndex;

/**
 * Parses a manifest once, at the edge. The media type of the request decides what the bytes mean, and bytes that could mean something
 * else to another reader are refused: one digest must not have two meanings (GHSA-5j5w-g665-5m35, GHSA-qq97-vm5h-rrhg).
 * @throws DistributionError MANIFEST_INVALID naming the field and what was expected.
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): Manifest {
  if (isDockerSchema1Type(mediaType)) throw invalid({ mediaType, expected: "Docker schema 2 or OCI: schema 1 is not taken any more" });
  if (!isImageManifestType(mediaType) && !isImageIndexType(mediaType)) {
    throw invalid({ mediaType, expected: "an OCI or Docker schema 2 image manifest or index" });
  }
  const json = parseJson(bytes);
  requireExactNames(json, "");
  const manifest = isImageManifestType(mediaType) ? parseImage(json, mediaType) : parseIndex(json, mediaType);
  for (const named of [...childrenOf(manifest), ...(manifest.subject === undefined ? [] : [manifest.subject])]) requireOwnData(named);
  return manifest;
}

function parseImage(json: unknown, mediaType: string): ImageManifest {
  const { config, layers, ...rest } = check(imageManifest, json, mediaType);
  const most = rest.artifactType === sourceArtifactType ? mostSourcePacks : mostLayers;
  if (layers.length > most) throw invalid({ field: "layers", found: layers.length, expected: `at most ${most} layers` });
  return { kind: "image", ...fieldsOf(rest, mediaType), config: config as Descriptor, layers: layers as Descriptor[] };
}

function parseIndex(json: unknown, mediaType: string): ImageIndex {
  const { manifests, ...rest } = check(imageIndex, json, mediaType);
  if (manifests.length > mostIndexEntries) {
    throw invalid({ field: "manifests", found: manifests.length, expected: `at most ${mostIndexEntries} manifests` });
  }
  return { kind: "index", ...fieldsOf(rest, mediaType), manifests: manifests as Descriptor[] };
}

/** Every blob or manifest that must be there before this manifest may be. The subject may come later (distribution-spec, "Pushing Manifests with Subject"). */
export function childrenOf(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === "image" ? [manifest.config, ...manifest.layers] : manifest.manifests;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    throw new DistributionError("MANIFEST_INVALID", { reason: (cause as Error).message }, { cause });
  }
}

function check<S extends typeof imageManifest | typeof imageIndex>(schema: S, json: unknown, mediaType: string): z.infer<S> {
  const result = schema.safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    throw invalid({ field: issue.path.join("."), expected: issue.message });
  }
  if (result.data.mediaType !== undefined && result.data.mediaType !== mediaType) {
    throw invalid({ field: "mediaType", found: result.data.mediaType, expected: mediaType });
  }
  return result.data as z.infer<S>;
}

function fieldsOf(parsed: Omit<z.infer<typeof imageIndex>, "manifests">, mediaType: string): ManifestFields {
  return {
    mediaType,
    ...(parsed.artifactType === undefined ? {} : { artifactType: parsed.artifactType }),
    ...(parsed.annotations === undefined ? {} : { annotations: parsed.annotations }),
    ...(parsed.subject === undefined ? {} : { subject: parsed.subject as Descriptor }),
  };
}

/** Looks at the manifest itself and at its descriptors; keys of annotations are free. */
function requireExactNames(value: unknown, at: string, names = fields): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) requireExactNames(item, at);
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    const name = names.get(caseFolded(key));
    if (name !== undefined && name !== key) throw invalid({ field: at + key.slice(0, 80), expected: `the name "${name}"` });
    if (["config", "layers", "manifests", "subject"].includes(key)) requireExactNames(inner, `${at}${key}.`);
    if (key === "platform") requireExactNames(inner, `${at}${key}.`, platformFields);
  }
}

/** Embedded content (image-spec, "Descriptor": `data`) is the content itself, or it is a lie. */
function requireOwnData({ digest: expected, size, ...rest }: Descriptor): void {
  const { data } = rest as { data?: string };
  if (data === undefined) return;
  const bytes = Buffer.from(data, "base64");
  if (bytes.length === size && digestOf(bytes, digestAlgorithm(expected)) === expected) return;
  throw invalid({ field: "data", digest: expected, expected: "the content that digest and size name, in base64" });
}

function byFoldedName(names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [caseFolded(name), name]));
}

/** As Go's encoding/json folds: long s and the Kelvin sign are an s and a k. */
function caseFolded(name: string): string {
  return name.toUpperCase().toLowerCase();
}

function invalid(detail: Readonly<Record<string, unknown>>): DistributionError {
  return new DistributionError("MANIFEST_INVALID", detail);
}
