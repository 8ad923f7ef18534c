import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BuildBaseImagesOptions } from "../../../tools/base-images/build-base-images.ts";
import { buildBaseImages } from "../../../tools/base-images/build-base-images.ts";

type Registry = BuildBaseImagesOptions["client"] & { blobs: Map<string, Buffer>; tags: Map<string, Buffer> };

function openRegistry(): Registry {
  const blobs = new Map<string, Buffer>();
  const tags = new Map<string, Buffer>();
  const found = (bytes: Buffer | undefined) =>
    bytes && { mediaType: "", digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}` as never, size: bytes.length };
  return {
    blobs,
    tags,
    statBlob: async (_repository, digest) => found(blobs.get(digest)),
    pushBlob: async (_repository, source, signal) => {
      const parts: Buffer[] = [];
      for await (const part of await source.open(0, signal, source.sizeBytes)) parts.push(part as Buffer);
      blobs.set(source.digest, Buffer.concat(parts));
    },
    resolveManifest: async (repository, reference) =>
      reference.kind === "tag" ? found(tags.get(`${repository}:${reference.tag}`)) : undefined,
    pushManifest: async (repository, reference, mediaType, bytes) => {
      if (reference.kind === "tag") tags.set(`${repository}:${reference.tag}`, Buffer.from(bytes));
      return { ...found(Buffer.from(bytes))!, mediaType };
    },
  };
}

describe("base images", () => {
  let cacheDir: string;
  beforeEach(async () => void (cacheDir = await mkdtemp(path.join(tmpdir(), "bases-"))));
  afterEach(async () => await rm(cacheDir, { recursive: true, force: true }));

  const build = (client: Registry, progress: string[] = [], dir = cacheDir) =>
    buildBaseImages({
      names: ["busybox"],
      client,
      cacheDir: dir,
      progress: (line) => progress.push(line),
      signal: AbortSignal.timeout(60_000),
    });

  it("puts busybox where Dockerfiles look for it, under each of its tags, whole by every digest", async () => {
    const registry = openRegistry();
    const [image] = await build(registry);
    expect([...registry.tags.keys()]).toEqual(image!.references);
    expect(image!.references).toContain("docker.io/library/busybox:stable");
    for (const [digest, bytes] of registry.blobs) expect(`sha256:${createHash("sha256").update(bytes).digest("hex")}`).toBe(digest);
  });

  it("makes the same bytes from scratch, and nothing at all from the cache", async () => {
    const [first, second, third] = [openRegistry(), openRegistry(), openRegistry()];
    await build(first);
    await build(second, [], path.join(cacheDir, "other"));
    expect(second.tags).toEqual(first.tags);
    const progress: string[] = [];
    await build(third, progress);
    expect(third.tags).toEqual(first.tags);
    expect(progress.filter((line) => line.startsWith("Making"))).toEqual([]);
  });

  it("pushes nothing that the registry has", async () => {
    const registry = openRegistry();
    await build(registry);
    const refuse = () => Promise.reject(new Error("pushed again"));
    await expect(build({ ...registry, pushBlob: refuse, pushManifest: refuse })).resolves.toHaveLength(1);
  });

  it("carries the CA bundle, programs by their names, and sticky folders", async () => {
    const registry = openRegistry();
    await build(registry);
    const manifest = JSON.parse([...registry.tags.values()][0]!.toString()) as { layers: { digest: string }[] };
    const file = path.join(cacheDir, "layer.zst");
    await writeFile(file, registry.blobs.get(manifest.layers[0]!.digest)!);
    const listing = execFileSync("tar", ["--zstd", "-tvf", file]).toString();
    expect(listing).toMatch(/-rw.* \.\/etc\/ssl\/certs\/ca-certificates\.crt/);
    expect(listing).toMatch(/\.\/bin\/httpd -> busybox/);
    expect(listing).toMatch(/drwxrwxrwt .* \.\/tmp\//);
  });
});
