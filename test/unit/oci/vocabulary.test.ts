import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestAlgorithm, digestEncoded, digestOf, isDigest, parseDigest } from "../../../oci/digest.ts";
import { DistributionError } from "../../../oci/errors.ts";
import { childrenOf, parseManifest } from "../../../oci/manifest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { formatImageReference, parseImageReference, parseManifestReference } from "../../../oci/reference.ts";
import { isRepository, isTag, parseRepository } from "../../../oci/repository.ts";
import { formatReceived, parseChunkRange, parseRangeHeader } from "../../../oci/routes/byte-range.ts";

describe("digests", () => {
  it("names bytes by algorithm and hex", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.constantFrom("sha256" as const, "sha512" as const), (bytes, algorithm) => {
        const digest = digestOf(bytes, algorithm);
        expect(parseDigest(digest)).toBe(digest);
        expect(`${digestAlgorithm(digest)}:${digestEncoded(digest)}`).toBe(digest);
      }),
    );
  });

  it.each([
    "",
    "sha256:",
    `sha256:${"a".repeat(63)}`,
    `sha256:${"A".repeat(64)}`,
    `sha512:${"a".repeat(64)}`,
    `md5:${"a".repeat(32)}`,
    ` ${digestOf("x")}`,
    `${digestOf("x")}\n`,
  ])("refuses %j", (text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow(SyntaxError);
  });
});

describe("names", () => {
  const component = fc.stringMatching(/^[a-z0-9]+(?:[._-][a-z0-9]+)?$/).filter((text) => text.length < 20);

  it("takes components joined by slashes, and a reference keeps them through writing and reading", () => {
    fc.assert(
      fc.property(
        fc.array(component, { minLength: 1, maxLength: 5 }),
        fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/),
        (parts, tag) => {
          expect(isRepository(parts.join("/"))).toBe(true);
          const text = `registry.example:5000/${parts.join("/")}:${tag}`;
          expect(formatImageReference(parseImageReference(text))).toBe(text);
        },
      ),
    );
  });

  it.each(["", "/a", "a/", "a//b", "A", "a..b", "a/../b", "-a", "a-", "a b", "a%2fb", "a\n", "a:b", "é", "a".repeat(256)])(
    "refuses the repository %j",
    (text) => {
      expect(isRepository(text)).toBe(false);
      expect(() => parseRepository(text)).toThrow(SyntaxError);
    },
  );

  it.each(["", ".a", "-a", "a/b", "a b", "a\n", "t".repeat(129), "a@b"])("refuses the tag %j", (text) => {
    expect(isTag(text)).toBe(false);
    expect(() => parseManifestReference(text)).toThrow(SyntaxError);
  });

  it("reads a digest beside a tag as the digest", () => {
    const digest = digestOf("x");
    expect(parseImageReference(`host/a/b:v1@${digest}`)).toEqual({
      host: "host",
      repository: "a/b",
      reference: { kind: "digest", digest },
    });
    expect(parseImageReference("host/a").reference).toEqual({ kind: "tag", tag: "latest" });
    expect(() => parseImageReference("alpine")).toThrow(SyntaxError);
  });
});

describe("manifests", () => {
  const descriptor = (text: string) => ({ mediaType: mediaTypes.layerTar, digest: digestOf(text), size: text.length });
  const image = { schemaVersion: 2, mediaType: mediaTypes.imageManifest, config: descriptor("config"), layers: [descriptor("layer")] };
  const parse = (value: unknown, mediaType: string = mediaTypes.imageManifest) =>
    parseManifest(Buffer.from(JSON.stringify(value)), mediaType);

  it("names what has to be there before it, the subject excepted", () => {
    expect(childrenOf(parse({ ...image, subject: descriptor("subject") })).map(({ digest }) => digest)).toEqual([
      digestOf("config"),
      digestOf("layer"),
    ]);
    const index = { schemaVersion: 2, manifests: [descriptor("a"), descriptor("b")] };
    expect(childrenOf(parse(index, mediaTypes.imageIndex)).map(({ digest }) => digest)).toEqual([digestOf("a"), digestOf("b")]);
  });

  it.each([
    ["two meanings", { ...image, mediaType: mediaTypes.imageIndex }],
    ["layers and manifests at once", { ...image, manifests: [] }],
    ["another schema", { ...image, schemaVersion: 1 }],
    ["a bad digest", { ...image, config: { ...descriptor("x"), digest: "sha256:x" } }],
    ["a negative size", { ...image, config: { ...descriptor("x"), size: -1 } }],
    ["no layers", { ...image, layers: undefined }],
    ["an array", []],
  ])("refuses %s", (_what, value) => {
    expect(() => parse(value)).toThrow(DistributionError);
  });

  it("throws nothing but MANIFEST_INVALID, whatever the bytes", () => {
    const types = fc.constantFrom(mediaTypes.imageManifest, mediaTypes.imageIndex, "application/json");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        types,
        (bytes, mediaType) => {
          expect(() => parseManifest(bytes, mediaType)).toThrow(expect.objectContaining({ code: "MANIFEST_INVALID" }) as Error);
        },
      ),
    );
  });
});

describe("ranges", () => {
  it.each([
    ["bytes=0-4", { first: 0, last: 4 }],
    ["bytes=7-", { first: 7 }],
    ["bytes=-5", { suffixBytes: 5 }],
    [undefined, undefined],
    ["bytes=5-4", undefined],
    ["bytes=0-1,3-4", undefined],
    ["bytes=-", undefined],
    ["items=0-4", undefined],
    ["bytes=0x1-2", undefined],
  ])("reads Range %j", (header, expected) => {
    expect(parseRangeHeader(header)).toEqual(expected);
  });

  it("holds a chunk's range against its length", () => {
    expect(parseChunkRange("10-19", "10")).toEqual({ first: 10 });
    expect(parseChunkRange("bytes 10-19/100", undefined)).toEqual({ first: 10 });
    expect(parseChunkRange(undefined, "10")).toBeUndefined();
    expect(() => parseChunkRange("10-19", "11")).toThrow(expect.objectContaining({ code: "SIZE_INVALID" }) as Error);
    expect(() => parseChunkRange("ten", "10")).toThrow(expect.objectContaining({ code: "RANGE_INVALID" }) as Error);
    expect([0, 1, 10].map(formatReceived)).toEqual(["0-0", "0-0", "0-9"]);
  });
});
