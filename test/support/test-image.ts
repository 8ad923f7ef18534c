import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { mediaTypes } from "../../oci/media-types.ts";

export type Blob = { readonly descriptor: Descriptor; readonly bytes: Buffer };
export type TestImage = {
  readonly manifest: Blob;
  readonly config: Blob;
  readonly layers: readonly Blob[];
  readonly diffIds: readonly Digest[];
};

/** Paths and what is in them; a path that ends with "/" is a folder. */
export type LayerFiles = Readonly<Record<string, string | LayerEntry>>;
export type LayerEntry = { readonly text?: string; readonly mode?: number; readonly uid?: number; readonly linkTo?: string };

export function blobOf(bytes: Uint8Array | string, mediaType: string): Blob {
  const buffer = Buffer.from(bytes as Uint8Array);
  return { descriptor: { mediaType, digest: digestOf(buffer), size: buffer.length }, bytes: buffer };
}

export async function tarOf(files: LayerFiles): Promise<Buffer> {
  const archive = pack();
  for (const [name, given] of Object.entries(files)) {
    const { text = "", mode, uid = 0, linkTo } = typeof given === "string" ? { text: given } : (given satisfies LayerEntry);
    // a build's folders are older than their push
    const mtime = new Date(1_700_000_000_000);
    if (name.endsWith("/")) archive.entry({ name, type: "directory", mode: mode ?? 0o755, uid, mtime });
    else if (linkTo !== undefined) archive.entry({ name, type: "symlink", linkname: linkTo, mtime });
    else archive.entry({ name, mode: mode ?? 0o644, uid, mtime }, text);
  }
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

export type ImageOptions = {
  /** what the config claims its layers unpack to, where that should be a lie */
  readonly diffIds?: readonly Digest[];
  readonly compressed?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
};

/** An image for this host's platform, layer by layer. */
export async function imageOf(layerFiles: readonly LayerFiles[], options: ImageOptions = {}): Promise<TestImage> {
  const tars = await Promise.all(layerFiles.map(tarOf));
  const layers = tars.map((tar) =>
    options.compressed === false ? blobOf(tar, mediaTypes.layerTar) : blobOf(gzipSync(tar), mediaTypes.layerTarGzip),
  );
  const diffIds = options.diffIds ?? tars.map((tar) => digestOf(tar));
  const config = blobOf(
    JSON.stringify({
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      config: { Labels: options.labels ?? {} },
      rootfs: { type: "layers", diff_ids: diffIds },
    }),
    mediaTypes.imageConfig,
  );
  return { manifest: manifestOf(config, layers), config, layers, diffIds };
}

export function manifestOf(config: Blob, layers: readonly Blob[], extra: Readonly<Record<string, unknown>> = {}): Blob {
  const body = {
    schemaVersion: 2,
    mediaType: mediaTypes.imageManifest,
    config: config.descriptor,
    layers: layers.map((l) => l.descriptor),
  };
  return blobOf(JSON.stringify({ ...body, ...extra }), mediaTypes.imageManifest);
}

export function indexOf(manifests: readonly Descriptor[]): Blob {
  return blobOf(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests }), mediaTypes.imageIndex);
}
