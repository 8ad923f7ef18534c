import { z } from "zod";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestOf } from "../oci/digest.ts";
import { digestSchema } from "../oci/digest-schema.ts";
import { type ImageManifest, type Manifest, manifestLimitBytes, parseManifest } from "../oci/manifest.ts";
import { mediaTypes } from "../oci/media-types.ts";
import type { ContainerdNamespace } from "./client.ts";
import { readBlobBytes } from "./content.ts";

/** Larger configs are refused: an image is a stranger's document. */
export const configLimitBytes = 1024 * 1024;

const imageConfig = z.object({
  architecture: z.string(),
  os: z.string(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(digestSchema).max(127) }),
});

/** A manifest with what unpacking needs of its config. */
export type StoredImage = {
  readonly manifest: ImageManifest;
  readonly platform: { readonly architecture: string; readonly os: string };
  /** digests of the uncompressed layers, one per layer */
  readonly diffIds: readonly Digest[];
};

/** The document in the content store is not what its place demands. */
export class ImageDocumentError extends Error {
  override readonly name = "ImageDocumentError";
}

/**
 * Reads a manifest or index, hashed again on the way out: containerd does not.
 * @throws ClientError NOT_FOUND, ImageDocumentError, DistributionError MANIFEST_INVALID.
 */
export async function readManifest(ns: ContainerdNamespace, manifestDigest: Digest, signal: AbortSignal): Promise<Manifest> {
  const bytes = await readVerified(ns, manifestDigest, manifestLimitBytes, signal);
  return parseManifest(bytes, mediaTypeOf(bytes, manifestDigest));
}

/** Reads an image's manifest and config. @throws ImageDocumentError when they are not those of one image with layers. */
export async function readImage(ns: ContainerdNamespace, manifestDigest: Digest, signal: AbortSignal): Promise<StoredImage> {
  const manifest = await readManifest(ns, manifestDigest, signal);
  if (manifest.kind !== "image") throw new ImageDocumentError(`Cannot read image "${manifestDigest}": found an index, expected a manifest`);
  const bytes = await readVerified(ns, manifest.config.digest, configLimitBytes, signal);
  const config = parseConfig(bytes, manifest.config.digest);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length) {
    throw new ImageDocumentError(
      `Cannot read image "${manifestDigest}": found ${diffIds.length} diff_ids in its config, expected one for each of ${manifest.layers.length} layers`,
    );
  }
  return { manifest, platform: { architecture: config.architecture, os: config.os }, diffIds };
}

/**
 * Follows an index to the manifest that this host runs; a manifest is answered as it is.
 * @throws ImageDocumentError when there is none, or it is an artifact.
 */
export async function resolveRunnable(ns: ContainerdNamespace, digest: Digest, signal: AbortSignal): Promise<Digest> {
  const manifest = await readManifest(ns, digest, signal);
  if (isRunnable(manifest)) return digest;
  const selected = manifest.kind === "index" ? selectPlatform(manifest.manifests)?.digest : undefined;
  if (selected !== undefined && isRunnable(await readManifest(ns, selected, signal))) return selected;
  throw new ImageDocumentError(`Cannot run "${digest}": found no image for linux/${hostArchitecture ?? process.arch} in it`);
}

const configTypes: ReadonlySet<string> = new Set([mediaTypes.imageConfig, mediaTypes.dockerConfig]);
const layerTypes: ReadonlySet<string> = new Set([
  mediaTypes.layerTar,
  mediaTypes.layerTarGzip,
  mediaTypes.layerTarZstd,
  mediaTypes.dockerLayerGzip,
]);

/** Artifacts and attestations are manifests too, but nothing to unpack. */
export function isRunnable(manifest: Manifest): manifest is ImageManifest {
  return (
    manifest.kind === "image" &&
    configTypes.has(manifest.config.mediaType) &&
    manifest.layers.every((layer) => layerTypes.has(layer.mediaType))
  );
}

const architectures: Readonly<Partial<Record<NodeJS.Architecture, string>>> = { x64: "amd64", arm64: "arm64" };

/** What machines of this host run, as OCI names it; undefined on a processor that images are not for. */
export const hostArchitecture: string | undefined = architectures[process.arch];

/** The manifest of an index that this host can run; undefined when it has none. */
export function selectPlatform(manifests: readonly Descriptor[]): Descriptor | undefined {
  return manifests.find(({ platform }) => platform?.os === "linux" && platform.architecture === hostArchitecture);
}

async function readVerified(ns: ContainerdNamespace, wanted: Digest, limitBytes: number, signal: AbortSignal): Promise<Buffer> {
  const bytes = await readBlobBytes(ns, wanted, { limitBytes }, signal);
  const found = digestOf(bytes, digestAlgorithm(wanted));
  if (found !== wanted) throw new ImageDocumentError(`Cannot trust blob "${wanted}": its bytes hash to "${found}"`);
  return bytes;
}

const manifestShape = z.object({ mediaType: z.string().optional(), manifests: z.unknown().optional() });

/** The store keeps bytes only; OCI lets a manifest leave out its own type. */
function mediaTypeOf(bytes: Buffer, manifestDigest: Digest): string {
  const { mediaType, manifests } = manifestShape.parse(parseJson(bytes, manifestDigest));
  return mediaType ?? (manifests === undefined ? mediaTypes.imageManifest : mediaTypes.imageIndex);
}

function parseConfig(bytes: Buffer, configDigest: Digest): z.infer<typeof imageConfig> {
  const result = imageConfig.safeParse(parseJson(bytes, configDigest));
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new ImageDocumentError(`Cannot read image config "${configDigest}": ${issue.path.join(".")}: ${issue.message}`);
}

function parseJson(bytes: Buffer, from: Digest): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new ImageDocumentError(`Cannot read "${from}": expected JSON`, { cause });
  }
}
