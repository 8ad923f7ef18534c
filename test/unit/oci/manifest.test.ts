import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { DistributionError } from "../../../oci/errors.ts";
import { childrenOf, mostIndexEntries, mostLayers, parseManifest } from "../../../oci/manifest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { referrerOf } from "../../../oci/referrer.ts";

const descriptor = (text: string) => ({ mediaType: mediaTypes.layerTar as string, digest: digestOf(text), size: text.length });
const image = { schemaVersion: 2, mediaType: mediaTypes.imageManifest, config: descriptor("config"), layers: [descriptor("layer")] };
const index = { schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests: [descriptor("a"), descriptor("b")] };

const parse = (value: unknown, mediaType: string = mediaTypes.imageManifest) =>
  parseManifest(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)), mediaType);

const refusalOf = (value: unknown, mediaType?: string): unknown => {
  try {
    parse(value, mediaType);
  } catch (error) {
    expect(error).toBeInstanceOf(DistributionError);
    expect((error as DistributionError).code).toBe("MANIFEST_INVALID");
    return (error as DistributionError).detail;
  }
  return "accepted";
};

describe("parseManifest", () => {
  it("names what has to be there before it, the subject excepted", () => {
    expect(childrenOf(parse({ ...image, subject: descriptor("subject") })).map(({ digest }) => digest)).toEqual([
      digestOf("config"),
      digestOf("layer"),
    ]);
    expect(childrenOf(parse(index, mediaTypes.imageIndex)).map(({ digest }) => digest)).toEqual([digestOf("a"), digestOf("b")]);
  });

  it.each([
    ["an image without layers", { ...image, layers: [] }, undefined],
    ["an empty index", { ...index, manifests: [] }, mediaTypes.imageIndex],
    ["an artifact with the empty config", { ...image, artifactType: "a/b", config: { ...descriptor("{}"), data: "e30=" } }, undefined],
    ["fields that nobody knows", { ...image, "org.example": { layers: [[{ size: 1.5 }]] } }, undefined],
    ["annotations named as fields, in any case", { ...image, annotations: { Layers: "x", layers: "y", MediaType: "z" } }, undefined],
    ["Docker's list", { ...index, mediaType: mediaTypes.dockerManifestList }, mediaTypes.dockerManifestList],
    ["127 layers", { ...image, layers: Array.from({ length: mostLayers }, (_, at) => descriptor(String(at))) }, undefined],
  ])("takes %s", (_what, value, mediaType) => {
    expect(refusalOf(value, mediaType)).toBe("accepted");
  });

  it.each([
    ["another type inside than announced", { ...image, mediaType: mediaTypes.imageIndex }, { field: "mediaType" }],
    ["layers and manifests at once", { ...image, manifests: [] }, { field: "manifests" }],
    ["layers and schema 1's layers at once", { ...image, fsLayers: [] }, { field: "fsLayers" }],
    ["layers in another case beside layers", { ...image, Layers: [] }, { field: "Layers", expected: 'the name "layers"' }],
    ["a subject that only Go would see", { ...image, ſubject: descriptor("x") }, { expected: 'the name "subject"' }],
    ["manifests in another case", { ...image, MANIFESTS: [] }, { field: "MANIFESTS" }],
    [
      "a digest in another case in a layer",
      { ...image, layers: [{ ...descriptor("x"), Digest: digestOf("y") }] },
      { field: "layers.Digest" },
    ],
    [
      "a platform that Go would read otherwise",
      { ...image, layers: [{ ...descriptor("x"), platform: { os: "linux", architecture: "amd64", Architecture: "arm64" } }] },
      { field: "layers.platform.Architecture", expected: 'the name "architecture"' },
    ],
    ["another schema", { ...image, schemaVersion: 1 }, { field: "schemaVersion" }],
    ["a bad digest", { ...image, config: { ...descriptor("x"), digest: "sha256:x" } }, { field: "config.digest" }],
    ["an unknown algorithm", { ...image, config: { ...descriptor("x"), digest: `md5:${"a".repeat(32)}` } }, { field: "config.digest" }],
    ["a negative size", { ...image, config: { ...descriptor("x"), size: -1 } }, { field: "config.size" }],
    ["a size that is no integer", { ...image, config: { ...descriptor("x"), size: 1.5 } }, { field: "config.size" }],
    ["no layers", { ...image, layers: undefined }, { field: "layers" }],
    ["null for layers", { ...image, layers: null }, { field: "layers" }],
    ["an annotation that is no string", { ...image, annotations: { a: 1 } }, { field: "annotations.a" }],
    ["embedded data of another digest", { ...image, config: { ...descriptor("{}"), data: "e3s=" } }, { field: "data" }],
    ["embedded data of another size", { ...image, config: { ...descriptor("{}"), size: 3, data: "e30=" } }, { field: "data" }],
    ["an array", [], {}],
    ["a key twice", `{"schemaVersion":2,"layers":[],"layers":[]}`, { reason: expect.stringContaining('"layers" once') as string }],
    ["a key twice, once escaped", `{"layers":[],"\\u006cayers":[]}`, { reason: expect.stringContaining('"layers" once') as string }],
    ["a size above 2^53", JSON.stringify(image).replace('"size":6', '"size":9007199254740993'), { reason: expect.any(String) as string }],
    ["a number that is infinite", `{"schemaVersion":2e999}`, { reason: expect.stringContaining("2^53") as string }],
    ["40 levels", `${"[".repeat(40)}${"]".repeat(40)}`, { reason: expect.stringContaining("32 levels") as string }],
    ["bytes after the end", `${JSON.stringify(image)}{}`, { reason: expect.stringContaining("the end") as string }],
    ["a byte order mark", `\ufeff${JSON.stringify(image)}`, { reason: expect.any(String) as string }],
  ])("refuses %s", (_what, value, detail) => {
    expect(refusalOf(value)).toMatchObject(detail);
  });

  it("refuses an index with a config or with layers", () => {
    expect(refusalOf({ ...index, config: descriptor("x") }, mediaTypes.imageIndex)).toMatchObject({ field: "config" });
    expect(refusalOf({ ...index, layers: [] }, mediaTypes.imageIndex)).toMatchObject({ field: "layers" });
  });

  it("says how many layers and manifests are too many", () => {
    const layers = Array.from({ length: mostLayers + 1 }, (_, at) => descriptor(String(at)));
    expect(refusalOf({ ...image, layers })).toEqual({ field: "layers", found: 128, expected: "at most 127 layers" });
    const manifests = Array.from({ length: mostIndexEntries + 1 }, (_, at) => descriptor(String(at)));
    expect(refusalOf({ ...index, manifests }, mediaTypes.imageIndex)).toMatchObject({ found: 1001, expected: "at most 1000 manifests" });
  });

  it.each(["application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"])(
    "refuses %s by its name",
    (mediaType) => {
      expect(refusalOf({ schemaVersion: 1, fsLayers: [] }, mediaType)).toEqual({
        mediaType,
        expected: "Docker schema 2 or OCI: schema 1 is not taken any more",
      });
    },
  );

  it("refuses bytes that are not UTF-8", () => {
    const bytes = Buffer.concat([Buffer.from(`{"a":"`), Buffer.from([0xff]), Buffer.from(`"}`)]);
    expect(() => parseManifest(bytes, mediaTypes.imageManifest)).toThrow(DistributionError);
  });

  it("throws nothing but MANIFEST_INVALID, whatever the bytes", () => {
    const types = fc.constantFrom(mediaTypes.imageManifest, mediaTypes.imageIndex, "application/json");
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, types, (any, mediaType) => {
        expect(() => parseManifest(any, mediaType)).toThrow(expect.objectContaining({ code: "MANIFEST_INVALID" }) as Error);
      }),
    );
  });
});

describe("referrerOf", () => {
  const self = { mediaType: mediaTypes.imageManifest as string, digest: digestOf("self"), size: 4 };

  it.each([
    ["its artifact type", { ...image, artifactType: "a/b" }, mediaTypes.imageManifest, "a/b"],
    ["the type of its config, when it has none", { ...image, artifactType: "" }, mediaTypes.imageManifest, mediaTypes.layerTar],
    ["an index's artifact type", { ...index, artifactType: "a/b" }, mediaTypes.imageIndex, "a/b"],
    ["nothing, for an index without one", index, mediaTypes.imageIndex, undefined],
  ])("tells of %s", (_what, value, mediaType, artifactType) => {
    const annotations = { a: "b" };
    const entry = referrerOf(parse({ ...value, annotations, subject: descriptor("subject") }, mediaType), self);
    expect(entry).toEqual({ ...self, annotations, ...(artifactType === undefined ? {} : { artifactType }) });
  });
});
