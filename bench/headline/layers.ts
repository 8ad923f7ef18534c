import { randomBytes } from "node:crypto";
import { constants, zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { mediaTypes } from "../../oci/media-types.ts";

export type BenchLayer = { readonly descriptor: Descriptor; readonly diffId: Digest; readonly bytes: Buffer };

/** What a layer holds: files as a distribution's packages have them, and bytes that no compression makes smaller. */
export type LayerContent = { readonly files: number; readonly incompressibleBytes: number };

const filesPerFolder = 10;
/** A few files of a package are large, most are small; 22 KB in the mean, as in a Debian image. */
const sizesBytes = [200, 700, 1_500, 3_000, 5_000, 8_000, 13_000, 22_000, 40_000, 126_000];
/** What a file of the mean size has in a compressed layer. */
export const compressedBytesPerFile = 7_500;
const mtime = new Date(1_700_000_000_000);

/** A zstd layer; its folder carries `name`, so that several lie beside each other in one image. */
export async function createLayer(name: string, content: LayerContent): Promise<BenchLayer> {
  const tar = await createTar(name, content);
  const bytes = zstdCompressSync(tar, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return { descriptor: { mediaType: mediaTypes.layerTarZstd, digest: digestOf(bytes), size: bytes.length }, diffId: digestOf(tar), bytes };
}

async function createTar(name: string, { files, incompressibleBytes }: LayerContent): Promise<Buffer> {
  const archive = pack();
  const root = `srv/${name}/`;
  archive.entry({ name: "srv/", type: "directory", mode: 0o755, mtime });
  archive.entry({ name: root, type: "directory", mode: 0o755, mtime });
  for (let index = 0; index < files; index += 1) {
    const folder = `${root}package-${Math.floor(index / filesPerFolder)}/`;
    if (index % filesPerFolder === 0) archive.entry({ name: folder, type: "directory", mode: 0o755, mtime });
    archive.entry({ name: `${folder}file-${index}`, mode: 0o644, mtime }, programLike(sizesBytes[index % sizesBytes.length]!));
  }
  if (incompressibleBytes > 0) archive.entry({ name: `${root}data`, mode: 0o644, mtime }, randomBytes(incompressibleBytes));
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** Compresses to about a third, as programs and their documents do. */
function programLike(sizeBytes: number): Buffer {
  const noise = randomBytes(Math.ceil(sizeBytes / 3)).toString("hex");
  return Buffer.from(noise.padEnd(sizeBytes, "the quick brown fox jumps over the lazy dog ").slice(0, sizeBytes));
}
