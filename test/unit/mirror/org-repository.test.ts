import { describe, expect, it } from "vitest";
import { imageNames, membership, requireOwnRepository } from "../../../mirror/store/org-repository.ts";
import { childLabels } from "../../../mirror/store/write-manifest.ts";
import { digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseManifest } from "../../../oci/manifest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { imageOf, indexOf } from "../../support/test-image.ts";

const repository = parseRepository("acme/web");
const stat = (labels: Record<string, string>) => ({ digest: digestOf("x"), sizeBytes: 1, labels });

describe("membership", () => {
  it("is told by a label whose value is the whole name", () => {
    expect(membership.includes(repository, stat({ ...membership.blobLabels(repository) }))).toBe(true);
    expect(membership.includes(parseRepository("acme/api"), stat({ ...membership.blobLabels(repository) }))).toBe(false);
    const [key] = Object.keys(membership.blobLabels(repository));
    expect(membership.includes(repository, stat({ [key!]: "acme/api" }))).toBe(false);
  });

  it("tells manifests from blobs", () => {
    expect(membership.manifestType(repository, stat({ ...membership.blobLabels(repository) }))).toBeUndefined();
    const labels = { ...membership.manifestLabels(repository, mediaTypes.imageIndex) };
    expect(membership.manifestType(repository, stat(labels))).toBe(mediaTypes.imageIndex);
  });
});

describe("requireOwnRepository", () => {
  it.each(["acme/web", "acme/web/cache"])("lets the org's %s pass", (name) => {
    expect(() => requireOwnRepository("acme", parseRepository(name))).not.toThrow();
  });

  it.each(["acme", "acme-2/web", "other/web", "library/acme/web"])("knows no %s", (name) => {
    expect(() => requireOwnRepository("acme", parseRepository(name))).toThrow(expect.objectContaining({ code: "NAME_UNKNOWN" }));
  });
});

describe("imageNames", () => {
  it("quotes a host with dots and a port in containerd's filter", () => {
    expect(imageNames.filterOf("registry.test:5000", repository)).toBe('name~="^registry\\\\.test:5000/acme/web[:@]"');
  });
});

describe("childLabels", () => {
  it("refers the collector to config and layers, or to the manifests of an index", async () => {
    const image = await imageOf([{ a: "a" }, { b: "b" }]);
    expect(childLabels(parseManifest(image.manifest.bytes, mediaTypes.imageManifest))).toEqual({
      "containerd.io/gc.ref.content.config": image.config.descriptor.digest,
      "containerd.io/gc.ref.content.l.0": image.layers[0]!.descriptor.digest,
      "containerd.io/gc.ref.content.l.1": image.layers[1]!.descriptor.digest,
    });
    const index = indexOf([image.manifest.descriptor]);
    expect(childLabels(parseManifest(index.bytes, mediaTypes.imageIndex))).toEqual({
      "containerd.io/gc.ref.content.m.0": image.manifest.descriptor.digest,
    });
  });
});
