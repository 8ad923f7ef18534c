import { describe, expect, it } from "vitest";
import { isRunnable, selectPlatform } from "../../../containerd/image.ts";
import { labelMask } from "../../../containerd/labels.ts";
import { planLayers } from "../../../containerd/unpack.ts";
import { digestOf } from "../../../oci/digest.ts";
import { parseManifest } from "../../../oci/manifest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { blobOf, imageOf, manifestOf } from "../../support/test-image.ts";

const parsed = async (layers: number) => {
  const image = await imageOf(Array.from({ length: layers }, (_, i) => ({ [`file-${i}`]: "text" })));
  const manifest = parseManifest(image.manifest.bytes, mediaTypes.imageManifest);
  if (manifest.kind !== "image") throw new TypeError("expected an image");
  return { image, manifest };
};

describe("planLayers", () => {
  it("puts each layer over the chain id of those below it", async () => {
    const { image, manifest } = await parsed(3);
    const plan = planLayers({ manifest, diffIds: image.diffIds, platform: { architecture: "amd64", os: "linux" } }, "overlayfs");
    expect(plan.map((layer) => layer.parent)).toEqual(["", plan[0]!.chainId, plan[1]!.chainId]);
    expect(plan.map((layer) => layer.layer.digest)).toEqual(image.layers.map((layer) => layer.descriptor.digest));
    expect(plan[2]!.chainId).toBe(digestOf(`${plan[1]!.chainId} ${image.diffIds[2]!}`));
  });
});

describe("isRunnable", () => {
  it("is true for an image with tar layers", async () => {
    expect(isRunnable((await parsed(1)).manifest)).toBe(true);
  });

  it("is false for an attestation, whose config says image and whose layer does not", () => {
    const attestation = manifestOf(blobOf("{}", mediaTypes.imageConfig), [blobOf("{}", "application/vnd.in-toto+json")]);
    expect(isRunnable(parseManifest(attestation.bytes, mediaTypes.imageManifest))).toBe(false);
  });

  it("is false for an artifact with an empty config", () => {
    const artifact = manifestOf(blobOf("{}", mediaTypes.emptyJson), [blobOf("text", mediaTypes.layerTar)]);
    expect(isRunnable(parseManifest(artifact.bytes, mediaTypes.imageManifest))).toBe(false);
  });
});

describe("selectPlatform", () => {
  it("takes the manifest of this host and passes over attestations", () => {
    const architecture = process.arch === "arm64" ? "arm64" : "amd64";
    const of = (text: string, platform: { architecture: string; os: string }) => ({
      ...blobOf(text, mediaTypes.imageManifest).descriptor,
      platform,
    });
    const wanted = of("b", { architecture, os: "linux" });
    const index = [of("a", { architecture: "unknown", os: "unknown" }), of("c", { architecture: "riscv64", os: "linux" }), wanted];
    expect(selectPlatform(index)).toEqual(wanted);
    expect(selectPlatform(index.slice(0, 2))).toBeUndefined();
  });
});

describe("labelMask", () => {
  it("names every key, so that an update leaves the others alone", () => {
    expect(labelMask({ one: "1", "containerd.io/gc.root": "x" })).toEqual({ paths: ["labels.one", "labels.containerd.io/gc.root"] });
  });
});
