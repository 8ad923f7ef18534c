import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestEncoded, digestOf } from "../../oci/digest.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { createLayer } from "../headline/layers.ts";

const savedImage = z.object({ manifest: digestSchema, blobs: z.array(digestSchema) });

/** An image in a folder: `image.json` and a file for each blob and the manifest. */
export type SavedImage = z.infer<typeof savedImage>;

const layers = 4;
/** of each layer; with 1,000 files beside them 92 MB in all */
const incompressibleBytes = 15_500_000;

/** Writes an image that has never been before: four zstd layers of programs' files, 92 MB compressed. */
export async function saveFreshImage(
  dir: string,
  incompressible = incompressibleBytes,
): Promise<SavedImage & { readonly sizeBytes: number }> {
  await mkdir(dir);
  const save = async (bytes: Buffer): Promise<void> => writeFile(fileOf(dir, digestOf(bytes)), bytes);
  const descriptors: Descriptor[] = [];
  const diffIds: string[] = [];
  for (let index = 0; index < layers; index += 1) {
    const layer = await createLayer(`layer-${index}`, { files: 1_000, incompressibleBytes: incompressible });
    await save(layer.bytes);
    descriptors.push(layer.descriptor);
    diffIds.push(layer.diffId);
  }
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  const config = Buffer.from(JSON.stringify({ architecture, os: "linux", config: {}, rootfs: { type: "layers", diff_ids: diffIds } }));
  const configDescriptor = { mediaType: mediaTypes.imageConfig, digest: digestOf(config), size: config.length };
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.imageManifest, config: configDescriptor, layers: descriptors }),
  );
  await save(config);
  await save(manifest);
  const saved = { manifest: digestOf(manifest), blobs: [...descriptors, configDescriptor].map(({ digest }) => digest) };
  await writeFile(path.join(dir, "image.json"), JSON.stringify(saved));
  return { ...saved, sizeBytes: descriptors.reduce((sum, { size }) => sum + size, 0) };
}

export const fileOf = (dir: string, digest: SavedImage["manifest"]): string => path.join(dir, digestEncoded(digest));

export async function readSavedImage(dir: string): Promise<SavedImage> {
  return savedImage.parse(JSON.parse(await readFile(path.join(dir, "image.json"), "utf8")));
}
