import { zstdCompressSync, gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { mediaTypes } from "../../../oci/media-types.ts";
import { headBytes, isSameCompression, layerTypeOf } from "../../../mirror/unpack/layer-type.ts";
import { tarOf } from "../../support/test-image.ts";

it("tells layers by their first bytes", async () => {
  const tar = await tarOf({ file: "text" });
  expect(layerTypeOf(tar.subarray(0, headBytes))).toBe(mediaTypes.layerTar);
  expect(layerTypeOf(gzipSync(tar).subarray(0, headBytes))).toBe(mediaTypes.layerTarGzip);
  expect(layerTypeOf(zstdCompressSync(tar).subarray(0, headBytes))).toBe(mediaTypes.layerTarZstd);
});

it("takes documents, the beginning of a magic and nothing for no layers", () => {
  for (const bytes of [Buffer.from('{"architecture":"amd64"}'), Buffer.from([0x28, 0xb5]), Buffer.alloc(0), Buffer.alloc(headBytes)]) {
    expect(layerTypeOf(bytes)).toBeUndefined();
  }
});

it("compares compressions, whoever's name the type has", () => {
  expect(isSameCompression(mediaTypes.layerTarGzip, mediaTypes.dockerLayerGzip)).toBe(true);
  expect(isSameCompression(mediaTypes.layerTarZstd, mediaTypes.layerTarGzip)).toBe(false);
  expect(isSameCompression(mediaTypes.layerTar, mediaTypes.layerTarGzip)).toBe(false);
});
