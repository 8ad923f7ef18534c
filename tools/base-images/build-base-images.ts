import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import type { BlobSource, DistributionClient } from "../../oci/distribution-client.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestOf } from "../../oci/digest.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { type Repository, parseRepository, parseTag } from "../../oci/repository.ts";
import { cacheDir as defaultCacheDir } from "../cache.ts";
import { ensureDebianPackages } from "../debian-packages.ts";
import { busyboxRecipe } from "./busybox.ts";
import { debianRecipe } from "./debian.ts";
import { golangRecipe } from "./golang.ts";
import { type StoredLayer, ensureLayer } from "./layer-cache.ts";
import { nodeRecipe } from "./node.ts";
import type { BaseImageRecipe } from "./types.ts";

export const baseImageNames = ["busybox", "debian", "node", "golang"] as const;
export type BaseImageName = (typeof baseImageNames)[number];

export type BuildBaseImagesOptions = {
  readonly names: readonly BaseImageName[];
  /** the registry they are put into, under `docker.io/library/...` */
  readonly client: Pick<DistributionClient, "statBlob" | "pushBlob" | "resolveManifest" | "pushManifest">;
  /** default: the user's cache folder */
  readonly cacheDir?: string;
  /** PEM file that the images trust beside the host's CAs; default: the host's alone */
  readonly caBundle?: string;
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
};

export type BaseImage = { readonly references: readonly string[]; readonly manifest: Descriptor; readonly sizeBytes: number };

const hostBundle = "/etc/ssl/certs/ca-certificates.crt";

/** Makes base images from packages and pushes what the registry lacks. Layers come from the cache when their recipe has not changed. */
export async function buildBaseImages(options: BuildBaseImagesOptions): Promise<readonly BaseImage[]> {
  await ensureDebianPackages({ ...options, groups: options.names.some((name) => name !== "busybox") ? ["bases"] : [] });
  const caBundle = await readCas(options.caBundle);
  const images: BaseImage[] = [];
  for (const name of options.names) images.push(await buildBaseImage(recipes[name](caBundle), caBundle, options));
  return images;
}

const recipes: Readonly<Record<BaseImageName, (caBundle: string | undefined) => BaseImageRecipe>> = {
  busybox: busyboxRecipe,
  debian: debianRecipe,
  node: nodeRecipe,
  golang: golangRecipe,
};

async function readCas(file: string | undefined): Promise<string | undefined> {
  const host = await readFile(hostBundle, "utf8").catch(() => undefined);
  if (file === undefined || file === hostBundle) return host;
  return [host, await readFile(file, "utf8")].join("\n");
}

async function buildBaseImage(recipe: BaseImageRecipe, caBundle: string | undefined, options: BuildBaseImagesOptions): Promise<BaseImage> {
  const { client, progress, signal } = options;
  const layers: StoredLayer[] = [];
  for (const layer of recipe.layers) {
    layers.push(await ensureLayer(layer, { cacheDir: options.cacheDir ?? defaultCacheDir(), caBundle, progress, signal }));
  }
  const repository = parseRepository(`docker.io/${recipe.repository}`);
  const config = Buffer.from(JSON.stringify(imageConfig(recipe, layers)));
  const configDescriptor = { mediaType: mediaTypes.imageConfig, digest: digestOf(config), size: config.length };
  for (const layer of layers) await pushMissing(client, repository, fileSource(layer), signal);
  await pushMissing(client, repository, { ...bytesSource(config), digest: configDescriptor.digest, sizeBytes: config.length }, signal);
  const bytes = Buffer.from(JSON.stringify(manifestOf(configDescriptor, layers)));
  for (const tag of recipe.tags) await pushTag(client, repository, tag, bytes, signal);
  const references = recipe.tags.map((tag) => `${repository}:${tag}`);
  const sizeBytes = layers.reduce((sum, { descriptor }) => sum + descriptor.size, config.length);
  progress(`Pushed ${references[0]} (${(sizeBytes / 1e6).toFixed(1)} MB)`);
  return { references, manifest: { mediaType: mediaTypes.imageManifest, digest: digestOf(bytes), size: bytes.length }, sizeBytes };
}

function imageConfig(recipe: BaseImageRecipe, layers: readonly StoredLayer[]): object {
  return {
    architecture: "amd64",
    os: "linux",
    created: "1970-01-01T00:00:00Z",
    config: recipe.config,
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: recipe.layers.map(({ title }) => ({ created: "1970-01-01T00:00:00Z", created_by: title })),
  };
}

function manifestOf(config: Descriptor, layers: readonly StoredLayer[]): object {
  return { schemaVersion: 2, mediaType: mediaTypes.imageManifest, config, layers: layers.map(({ descriptor }) => descriptor) };
}

const fileSource = ({ file, descriptor }: StoredLayer): BlobSource => ({
  digest: descriptor.digest,
  sizeBytes: descriptor.size,
  open: (offset) => createReadStream(file, { start: offset }),
});

const bytesSource = (bytes: Buffer): Pick<BlobSource, "open"> => ({ open: (offset) => Readable.from([bytes.subarray(offset)]) });

async function pushMissing(
  client: BuildBaseImagesOptions["client"],
  repository: Repository,
  source: BlobSource,
  signal: AbortSignal,
): Promise<void> {
  if ((await client.statBlob(repository, source.digest, signal)) === undefined) await client.pushBlob(repository, source, signal);
}

async function pushTag(
  client: BuildBaseImagesOptions["client"],
  repository: Repository,
  tag: string,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const reference = { kind: "tag", tag: parseTag(tag) } as const;
  const found = await client.resolveManifest(repository, reference, signal);
  if (found?.digest !== digestOf(bytes)) await client.pushManifest(repository, reference, mediaTypes.imageManifest, bytes, signal);
}
