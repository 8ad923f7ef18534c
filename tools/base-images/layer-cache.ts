import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";
import { z } from "zod";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import type { LayerRecipe } from "./types.ts";

export type StoredLayer = { readonly file: string; readonly descriptor: Descriptor; readonly diffId: Digest };

const fileNames = { [mediaTypes.layerTarZstd]: "layer.tar.zst", [mediaTypes.layerTarGzip]: "layer.tar.gz" } as const;
const recordSchema = z.object({
  digest: digestSchema,
  size: z.number().int().positive(),
  diffId: digestSchema,
  mediaType: z.enum([mediaTypes.layerTarZstd, mediaTypes.layerTarGzip]).default(mediaTypes.layerTarZstd),
});

/** The layer from the cache, or made now. Two processes may do it at once: the first that is ready wins. */
export async function ensureLayer(
  recipe: LayerRecipe,
  options: { cacheDir: string; caBundle: string | undefined; progress: (line: string) => void; signal: AbortSignal },
): Promise<StoredLayer> {
  const { cacheDir, caBundle, progress, signal } = options;
  const key = createHash("sha256").update(JSON.stringify(recipe.inputs)).digest("hex").slice(0, 32);
  const folder = path.join(cacheDir, "base-images", key);
  const cached = await readLayer(folder);
  if (cached !== undefined) return cached;

  progress(`Making layer "${recipe.title}"`);
  const startedAtMs = Date.now();
  await mkdir(path.dirname(folder), { recursive: true });
  const workDir = await mkdtemp(`${folder}.`);
  try {
    const tar = path.join(workDir, "layer.tar");
    await recipe.writeTar(tar, { workDir, caBundle, signal });
    const made = path.join(workDir, "made");
    await mkdir(made);
    await compress(tar, made, signal);
    await rename(made, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
  progress(`Made layer "${recipe.title}" in ${((Date.now() - startedAtMs) / 1000).toFixed(1)} s`);
  const layer = await readLayer(folder);
  if (layer === undefined) throw new Error(`Cannot read layer "${folder}": remove it and try again`);
  return layer;
}

async function readLayer(folder: string): Promise<StoredLayer | undefined> {
  const record = await readFile(path.join(folder, "layer.json"), "utf8").catch(() => undefined);
  if (record === undefined) return undefined;
  const { digest: found, size, diffId, mediaType } = recordSchema.parse(JSON.parse(record));
  const file = path.join(folder, fileNames[mediaType]);
  if ((await stat(file)).size !== size) return undefined;
  return { file, diffId, descriptor: { mediaType, digest: found, size } };
}

async function compress(tar: string, folder: string, signal: AbortSignal): Promise<void> {
  const { mediaType, stream } = compressor();
  const plain = hashing();
  const packed = hashing();
  const file = createWriteStream(path.join(folder, fileNames[mediaType]));
  await pipeline(createReadStream(tar), plain.stream, stream, packed.stream, file, { signal });
  const record = { digest: packed.digest(), size: packed.sizeBytes(), diffId: plain.digest(), mediaType };
  await writeFile(path.join(folder, "layer.json"), JSON.stringify(record));
}

/** zstd unpacks faster; Node knows it since 22.15, and the packed command runs on 20. */
function compressor(): { readonly mediaType: keyof typeof fileNames; readonly stream: Transform } {
  if (zlib.createZstdCompress === undefined) return { mediaType: mediaTypes.layerTarGzip, stream: zlib.createGzip() };
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: 3 };
  return { mediaType: mediaTypes.layerTarZstd, stream: zlib.createZstdCompress({ params }) };
}

function hashing() {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      done(null, chunk);
    },
  });
  return { stream, digest: () => `sha256:${hash.digest("hex")}`, sizeBytes: () => sizeBytes };
}
