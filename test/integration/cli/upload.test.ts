import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadIgnorePatterns } from "../../../cli/source/ignore-file.ts";
import { listSource } from "../../../cli/source/list-source.ts";
import { packSource } from "../../../cli/source/pack.ts";
import { uploadSource } from "../../../cli/source/upload.ts";
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

beforeAll(async () => {
  scratch = await openScratchBucket();
  store = openS3Store(scratch);
  app = createRegistryApp({ store, ...scratch });
  await app.listen({ host: "127.0.0.1", port: 0 });
  directory = await mkdtemp(path.join(tmpdir(), "slipway-upload-test-"));
});
afterAll(async () => {
  await app.close();
  await store[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function upload() {
  const ignore = await loadIgnorePatterns(directory, "Dockerfile", undefined);
  const entries = await listSource({ directory, ignore, always: new Set(["Dockerfile"]) }, signal);
  await using packed = await packSource(directory, entries, signal);
  using registry = createDistributionClient({ baseUrl: app.listeningOrigin });
  return await uploadSource(registry, repository, packed, signal);
}

test("a source is sent once, the same source not again, a changed one anew", async () => {
  await writeFile(path.join(directory, "Dockerfile"), "FROM scratch\n");
  await writeFile(path.join(directory, "asset"), randomBytes(12 * 1024 * 1024));
  const first = await upload();
  expect(first.sentBytes).toBe(first.source.sizeBytes);
  expect(await store.blobs.stat(repository, first.source.digest, signal)).toMatchObject({ size: first.source.sizeBytes });

  expect(await upload()).toEqual({ source: first.source, sentBytes: 0 });

  await writeFile(path.join(directory, "Dockerfile"), "FROM scratch\nLABEL a=b\n");
  const changed = await upload();
  expect(changed.source.digest).not.toBe(first.source.digest);
  expect(changed.sentBytes).toBe(changed.source.sizeBytes);
});
