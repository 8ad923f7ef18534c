import { Readable } from "node:stream";
import { type DistributionClient, createDistributionClient } from "../../oci/distribution-client.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { type Repository, parseRepository } from "../../oci/repository.ts";
import { type BenchLayer, type LayerContent, compressedBytesPerFile, createLayer } from "./layers.ts";

const mostFiles = 32_000;
const filesPerTree = 8_000;
const mostDataBytes = 128_000_000;

/** Debian-like trees of at most 8,000 files, and the rest in layers of bytes that do not compress, so that all is `sizeMb` compressed. */
export function layersOf(sizeMb: number): LayerContent[] {
  const files = Math.min(mostFiles, sizeMb * 65);
  const trees = Math.ceil(files / filesPerTree);
  const dataBytes = sizeMb * 1_000_000 - files * compressedBytesPerFile;
  const parts = Math.max(2, Math.ceil(dataBytes / mostDataBytes));
  return [
    ...Array.from({ length: trees }, () => ({ files: Math.round(files / trees), incompressibleBytes: 0 })),
    ...Array.from({ length: parts }, () => ({ files: 0, incompressibleBytes: Math.round(dataBytes / parts) })),
  ];
}

/** Makes a base image of the size and pushes it to the registry. Answers its name by digest. */
export async function pushBaseImage(registry: string, sizeMb: number, signal: AbortSignal): Promise<string> {
  using client = createDistributionClient({ baseUrl: `http://${registry}` });
  const repository = parseRepository(`bench/base-${sizeMb}`);
  const layers: Pick<BenchLayer, "descriptor" | "diffId">[] = [];
  for (const [index, content] of layersOf(sizeMb).entries()) {
    const { descriptor, diffId, bytes } = await createLayer(`layer-${index}`, content);
    await push(client, repository, bytes, descriptor.digest, signal);
    layers.push({ descriptor, diffId });
  }
  const architecture = process.arch === "arm64" ? "arm64" : "amd64";
  const rootfs = { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) };
  const config = Buffer.from(JSON.stringify({ architecture, os: "linux", config: {}, rootfs }));
  await push(client, repository, config, digestOf(config), signal);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.imageManifest,
      config: { mediaType: mediaTypes.imageConfig, digest: digestOf(config), size: config.length },
      layers: layers.map(({ descriptor }) => descriptor),
    }),
  );
  const digest = digestOf(manifest);
  await client.pushManifest(repository, { kind: "digest", digest }, mediaTypes.imageManifest, manifest, signal);
  return `${registry}/${repository}@${digest}`;
}

async function push(client: DistributionClient, repository: Repository, bytes: Buffer, digest: Digest, signal: AbortSignal): Promise<void> {
  const open = (offset: number): Readable => Readable.from(chunksOf(bytes, offset), { objectMode: false });
  await client.pushBlob(repository, { digest, sizeBytes: bytes.length, open }, signal);
}

const chunkBytes = 256 * 1024;

function* chunksOf(bytes: Buffer, offset: number): Generator<Buffer> {
  for (let at = offset; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}
