import { mediaTypes } from "../../oci/media-types.ts";

/** So many bytes of a blob tell what it is: a tar's magic stands near the end of its first header. */
export const headBytes = 512;

const gzipMagic = Buffer.from([0x1f, 0x8b]);
const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const tarMagic = Buffer.from("ustar");
const tarMagicOffset = 257;

/** The layer type that a blob's first bytes look like, as a push names none; undefined for what is surely no layer. */
export function layerTypeOf(head: Buffer): string | undefined {
  if (head.subarray(0, gzipMagic.length).equals(gzipMagic)) return mediaTypes.layerTarGzip;
  if (head.subarray(0, zstdMagic.length).equals(zstdMagic)) return mediaTypes.layerTarZstd;
  if (head.subarray(tarMagicOffset, tarMagicOffset + tarMagic.length).equals(tarMagic)) return mediaTypes.layerTar;
  return undefined;
}

/** Whether two layer types name one compression: containerd looks at the type before it looks at the bytes. */
export function isSameCompression(one: string, other: string): boolean {
  return compressionOf(one) === compressionOf(other);
}

const compressionOf = (mediaType: string): string => /[+.](gzip|zstd)$/.exec(mediaType)?.[1] ?? "none";
