import { describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createManifestCache } from "../../../registry/manifests/manifest-cache.ts";

const repository = parseRepository("acme/web");
const manifest = (text: string, sizeBytes = 10, mediaType = "a/b") => {
  const bytes = Buffer.alloc(sizeBytes, text);
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: sizeBytes } };
};

describe("the cache of manifests", () => {
  it("knows a manifest by repository, digest and media type together", () => {
    const cache = createManifestCache(1000);
    const { bytes, descriptor } = manifest("x");
    cache.keep(repository, descriptor, bytes);
    expect(cache.get(repository, descriptor)).toBe(bytes);
    expect(cache.get(parseRepository("other/web"), descriptor)).toBeUndefined();
    expect(cache.get(repository, { ...descriptor, mediaType: "c/d" })).toBeUndefined();
    expect(cache.get(repository, manifest("y").descriptor)).toBeUndefined();
  });

  it("forgets what was used longest ago, and never takes one that would push out most of the others", () => {
    const cache = createManifestCache(100);
    const kept = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map((text) => manifest(text));
    for (const { bytes, descriptor } of kept) cache.keep(repository, descriptor, bytes);
    cache.get(repository, kept[0]!.descriptor);
    const next = manifest("k");
    cache.keep(repository, next.descriptor, next.bytes);
    cache.keep(repository, next.descriptor, next.bytes);
    const large = manifest("l", 50);
    cache.keep(repository, large.descriptor, large.bytes);
    const isKept = [...kept, next, large].map(({ descriptor }) => cache.get(repository, descriptor) !== undefined);
    expect(isKept).toEqual([true, false, ...Array<boolean>(9).fill(true), false]);
  });
});
