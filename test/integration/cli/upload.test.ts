import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { loadIgnorePatterns } from "../../../cli/source/ignore-file.ts";
import { listSource } from "../../../cli/source/list-source.ts";
import { type PackedSource, packSource } from "../../../cli/source/pack.ts";
import { openSourceIndex } from "../../../cli/source/source-index.ts";
import { type UploadedSource, uploadSource } from "../../../cli/source/upload.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createRegistryApp } from "../../../registry/app.ts";
import { openS3Store, type S3Store } from "../../../registry/s3-store.ts";
import { openScratchBucket, type ScratchBucket } from "../registry/scratch-bucket.ts";

const signal = AbortSignal.timeout(100_000);
const repository = parseRepository("default/web");
let scratch: ScratchBucket;
let store: S3Store;
let app: FastifyInstance;
let directory: string;
/** `method path` of what the registry was asked for */
let asked: string[] = [];

beforeAll(async () => {
  scratch = await openScratchBucket();
  store = openS3Store(scratch);
  app = createRegistryApp({ store, ...scratch });
  app.server.on("request", ({ method, url }: { method: string; url: string }) => {
    if (url !== "/v2/") asked.push(`${method} ${url.split("?")[0]!.replace(/sha256:[0-9a-f]+|uploads\/.*/, "…")}`);
  });
  await app.listen({ host: "127.0.0.1", port: 0 });
  directory = await mkdtemp(path.join(tmpdir(), "slipway-upload-test-"));
  await writeFile(path.join(directory, "Dockerfile"), "FROM scratch\n");
  for (const name of ["a", "b", "c"]) await writeFile(path.join(directory, name), randomBytes(2_000_000));
  await writeFile(path.join(directory, "large"), randomBytes(12 * 1024 * 1024));
});
beforeEach(() => {
  asked = [];
});
afterAll(async () => {
  await app.close();
  await store[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function pack(): Promise<PackedSource> {
  const ignore = await loadIgnorePatterns(directory, "Dockerfile", undefined);
  const index = await openSourceIndex(directory, { environment: { XDG_CACHE_HOME: path.join(directory, ".cache") } });
  const entries = (await listSource({ directory, ignore, always: new Set(["Dockerfile"]) }, signal)).filter(
    (entry) => !entry.path.startsWith(".cache"),
  );
  return packSource(directory, entries, index, signal);
}

async function upload(source?: PackedSource): Promise<UploadedSource> {
  using registry = createDistributionClient({ baseUrl: app.listeningOrigin });
  return await uploadSource(registry, repository, source ?? (await pack()), signal);
}

test("a source is sent once, the same source not again with one request, and of a changed one only its pack", async () => {
  const first = await upload();
  expect(first.sentBytes).toBe(first.source.sizeBytes);

  asked = [];
  expect(await upload()).toEqual({ source: first.source, sentBytes: 0 });
  expect(asked).toEqual(["PUT /v2/default/web/manifests/…"]);

  await writeFile(path.join(directory, "b"), randomBytes(2_000_000));
  const changed = await upload();
  expect(changed.source.digest).not.toBe(first.source.digest);
  expect(changed.sentBytes).toBeGreaterThan(2_000_000);
  expect(changed.sentBytes).toBeLessThan(2_010_000);
});

test("the packs in the registry, one after another, are the tar; no tag names them", async () => {
  const source = await pack();
  await upload(source);
  const stored: Buffer[] = [];
  for (const { digest } of source.packs) {
    const { body } = await store.blobs.read(repository, digest, undefined, signal);
    for await (const chunk of body) stored.push(chunk as Buffer);
  }
  expect(Buffer.concat(stored).equals(Buffer.concat(source.packs.map((pack) => source.bytesOf(pack))))).toBe(true);
  expect(await store.manifests.tags(repository, {}, signal)).toEqual([]);
});

test("a pack that the registry forgot is sent again, alone", async () => {
  const source = await pack();
  await upload(source);
  const lost = source.packs[1]!;
  expect(await store.deletes!.blob(repository, lost.digest, signal)).toBe(true);
  expect(await upload(source)).toMatchObject({ sentBytes: lost.size });
});

test("an upload that was broken off goes on with what is missing", async () => {
  await writeFile(path.join(directory, "a"), randomBytes(2_000_000));
  await writeFile(path.join(directory, "c"), randomBytes(2_000_000));
  const source = await pack();
  const sending: string[] = [];
  const breaking: PackedSource = {
    ...source,
    bytesOf(wanted) {
      sending.push(wanted.digest);
      if (sending.length > 1) throw new Error("killed");
      return source.bytesOf(wanted);
    },
  };
  await expect(upload(breaking)).rejects.toThrow("killed");
  using registry = createDistributionClient({ baseUrl: app.listeningOrigin });
  // the one that was under way may have gone through
  expect(await registry.resolveManifest(repository, { kind: "digest", digest: source.digest }, signal)).toBeUndefined();
  const { sentBytes } = await upload(source);
  expect(sentBytes).toBeGreaterThanOrEqual(2_000_000);
  expect(sentBytes).toBeLessThanOrEqual(4_010_000);
  expect(await readdir(directory)).toContain("a");
});

test("a registry that does not say what is missing is asked for each", async () => {
  await writeFile(path.join(directory, "a"), randomBytes(2_000_000));
  using registry = createDistributionClient({ baseUrl: app.listeningOrigin });
  const { UpstreamError } = await import("../../../oci/distribution-client.ts");
  const silent: typeof registry = {
    ...registry,
    async pushManifest(...args) {
      try {
        return await registry.pushManifest(...args);
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error;
        throw new UpstreamError(error.message, {
          code: error.code,
          url: error.url,
          ...(error.status === undefined ? {} : { status: error.status }),
        });
      }
    },
  };
  const source = await pack();
  asked = [];
  const { sentBytes } = await uploadSource(silent, repository, source, signal);
  expect(sentBytes).toBeGreaterThan(2_000_000);
  expect(sentBytes).toBeLessThan(2_010_000);
  expect(asked.filter((request) => request.startsWith("HEAD"))).toHaveLength(source.packs.length + 1);
});
