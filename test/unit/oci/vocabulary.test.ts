import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestAlgorithm, digestEncoded, digestOf, isDigest, parseDigest } from "../../../oci/digest.ts";
import { formatImageReference, parseImageReference, parseManifestReference } from "../../../oci/reference.ts";
import { isRepository, isTag, parseRepository } from "../../../oci/repository.ts";

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
