import { expect, test } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseManifest } from "../../../oci/manifest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { requireChildren } from "../../../oci/require-children.ts";
import { emptyConfig, formatSourceManifest, parseSourceManifest } from "../../../oci/source-manifest.ts";

const packsOf = (count: number) => Array.from({ length: count }, (_, index) => ({ digest: digestOf(`pack ${index}`), size: index + 1 }));

test("a list of packs is the same bytes for the same packs, and read as what was written", () => {
  const packs = packsOf(8192);
  const bytes = formatSourceManifest(packs);
  expect(bytes.equals(formatSourceManifest(packs))).toBe(true);
  expect(parseSourceManifest(bytes, mediaTypes.imageManifest)).toMatchObject(packs);
});

test("more packs than a registry looks for are refused, and so is an image in the place of a list", () => {
  const error = expect.objectContaining({ code: "MANIFEST_INVALID" });
  expect(() => parseSourceManifest(formatSourceManifest(packsOf(8193)), mediaTypes.imageManifest)).toThrow(error);
  const image = formatSourceManifest(packsOf(2)).toString().replace("application/vnd.slipway.source.v1+json", "application/x");
  expect(() => parseSourceManifest(Buffer.from(image), mediaTypes.imageManifest)).toThrow(error);
});

test("a registry that refuses a list names all that it lacks, and looks for each once", async () => {
  const packs = packsOf(100);
  const manifest = parseManifest(formatSourceManifest(packs), mediaTypes.imageManifest);
  const lacking = new Set([3, 40, 99].map((index) => packs[index]!.digest));
  const looked: string[] = [];
  const source = {
    stat: async ({ digest, size }: { digest: (typeof packs)[0]["digest"]; size: number }) => {
      looked.push(digest);
      return lacking.has(digest) ? undefined : { mediaType: "application/octet-stream", digest, size };
    },
    readManifest: async () => undefined,
  };
  await expect(requireChildren(source, manifest)).rejects.toMatchObject({
    code: "MANIFEST_BLOB_UNKNOWN",
    detail: { digest: packs[3]!.digest, digests: [...lacking] },
  });
  expect(looked.toSorted()).toEqual([emptyConfig.digest, ...packs.map(({ digest }) => digest)].toSorted());
  lacking.clear();
  await expect(requireChildren(source, manifest)).resolves.toBeUndefined();
});
