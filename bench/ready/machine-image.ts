import { randomBytes } from "node:crypto";
import { zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { chainIds } from "../../containerd/chain-id.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { type Layer, layerOf } from "../registry/layers.ts";

export type MachineImage = {
  readonly layers: readonly Layer[];
  readonly config: Layer;
  readonly manifest: Layer & { readonly bytes: Buffer };
  /** names the snapshot that a machine starts from */
  readonly chainId: Digest;
  readonly sizeBytes: number;
};

const layers = 3;
/** As a base system has them: most of the work of unpacking is to create them. */
const filesPerLayer = 2_500;
const fileBytes = 6_000;
/** What does not compress, as binaries hardly do. */
const randomBytesPerLayer = 20 * 1024 * 1024;

/** An image of three zstd layers, as BuildKit pushes them here; each has some thousand small files and one that is large. */
export async function makeMachineImage(): Promise<MachineImage> {
  const tars = await Promise.all(Array.from({ length: layers }, (_, index) => layerTar(index)));
  const diffIds = tars.map((tar) => digestOf(tar));
  const blobs = tars.map((tar) => layerOf(zstdCompressSync(tar)));
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  const config = layerOf(Buffer.from(JSON.stringify({ architecture, os: "linux", rootfs: { type: "layers", diff_ids: diffIds } })));
  const describe = (mediaType: string, { digest, sizeBytes }: Layer) => ({ mediaType, digest, size: sizeBytes });
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.imageManifest,
      config: describe(mediaTypes.imageConfig, config),
      layers: blobs.map((layer) => describe(mediaTypes.layerTarZstd, layer)),
    }),
  );
  return {
    layers: blobs,
    config,
    manifest: { ...layerOf(bytes), bytes },
    chainId: chainIds(diffIds).at(-1)!,
    sizeBytes: blobs.reduce((sum, layer) => sum + layer.sizeBytes, 0),
  };
}

async function layerTar(layer: number): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: `layer-${layer}/`, type: "directory", mode: 0o755 });
  for (let index = 0; index < filesPerLayer; index++) {
    if (index % 100 === 0) archive.entry({ name: `layer-${layer}/folder-${index / 100}/`, type: "directory", mode: 0o755 });
    const text = randomBytes(fileBytes / 4)
      .toString("hex")
      .padEnd(fileBytes, "a line that compresses well\n");
    archive.entry({ name: `layer-${layer}/folder-${Math.floor(index / 100)}/file-${index}`, mode: 0o644 }, text);
  }
  archive.entry({ name: `layer-${layer}/large`, mode: 0o755 }, randomBytes(randomBytesPerLayer));
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
