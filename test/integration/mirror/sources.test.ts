import { randomBytes } from "node:crypto";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { contextUrl, sourceFailure } from "../../../activities/source-context.ts";
import { BuildFailed, SourceUnavailable } from "../../../builder/buildkit/errors.ts";
import { type SolveOutput, solve } from "../../../builder/buildkit/solve.ts";
import { parseIgnorePatterns } from "../../../cli/source/ignore-patterns.ts";
import { type SourceEntry, listSource } from "../../../cli/source/list-source.ts";
import { type PackedSource, packSource } from "../../../cli/source/pack.ts";
import { openSourceIndex } from "../../../cli/source/source-index.ts";
import { tarEnd, tarHeader } from "../../../cli/source/tar-header.ts";
import { uploadSource } from "../../../cli/source/upload.ts";
import { listBlobs } from "../../../containerd/content.ts";
import { listImages } from "../../../containerd/images.ts";
import { digestOf } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { formatSourceManifest } from "../../../oci/source-manifest.ts";
import { createRegistryApp } from "../../../registry/app.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import type { SourceRef } from "../../../workflows/types.ts";
import { eventually } from "../../support/eventually.ts";
import { type MirrorHarness, type MirroredOrg, openMirrorHarness, orgName, sourceOf } from "../../support/mirror-harness.ts";
import { type TestBuildkit, openTestBuildkit } from "../builder/buildkit-daemon.ts";
import { type ScratchBucket, openScratchBucket } from "../registry/scratch-bucket.ts";
import { tarOf } from "../builder/stand-in.ts";
import { basic, openGuardedMirror } from "./guarded-mirror.ts";

const signal = AbortSignal.timeout(180_000);

async function packed(directory: string): Promise<PackedSource> {
  const index = await openSourceIndex(directory, { environment: { XDG_CACHE_HOME: `${directory}-cache` } });
  const entries = await listSource({ directory, ignore: parseIgnorePatterns(""), always: new Set() }, signal);
  return packSource(directory, entries, index, signal);
}

/** What a client of somebody's own uploads: any bytes, as any packs. */
function handmade(packs: readonly Buffer[]): PackedSource {
  const listed = packs.map((bytes) => ({ digest: digestOf(bytes), size: bytes.length }));
  const manifest = formatSourceManifest(listed);
  const sizeBytes = packs.reduce((sum, { length }) => sum + length, 0);
  const bytesOf: PackedSource["bytesOf"] = ({ digest }) => packs.find((bytes) => digestOf(bytes) === digest)!;
  return { digest: digestOf(manifest), manifest, packs: listed, sizeBytes, fileCount: 1, bytesOf };
}

describe("a source in packs, behind a mirror", () => {
  let scratch: ScratchBucket;
  let store: S3Store;
  let registry: FastifyInstance;
  let mirror: MirrorHarness;
  let org: MirroredOrg;
  let buildkit: TestBuildkit;
  let directory: string;
  let fetched: string[] = [];

  beforeAll(async () => {
    scratch = await openScratchBucket();
    store = openS3Store(scratch);
    registry = createRegistryApp({ store, ...scratch });
    registry.server.on("request", ({ method, url }: { method: string; url: string }) => {
      if (method === "GET" && url.includes("/blobs/")) fetched.push(url.split("/").at(-1)!);
    });
    await registry.listen({ host: "127.0.0.1", port: 0 });
    mirror = await openMirrorHarness({ upstreamUrl: registry.listeningOrigin });
    org = await mirror.org(orgName("acme"));
    buildkit = await openTestBuildkit(inject("toolsBinDir"), mirrorAddress());
    directory = await mkdtemp(path.join(tmpdir(), "slipway-sources-test-"));
    await copyFile("/bin/busybox", path.join(directory, "busybox"));
    for (const name of ["a", "b", "c"]) await writeFile(path.join(directory, name), randomBytes(1_500_000));
    const run = 'RUN ["/busybox", "md5sum", "/a", "/b", "/c"]';
    await writeFile(path.join(directory, "Dockerfile"), `FROM scratch\nCOPY busybox a b c /\n${run}\n`);
  });
  afterAll(async () => {
    await buildkit?.[Symbol.asyncDispose]();
    await mirror?.[Symbol.asyncDispose]();
    await registry.close();
    await store[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
    for (const folder of [directory, `${directory}-cache`]) await rm(folder, { recursive: true, force: true });
  });

  const mirrorAddress = (): string => `${org.address}:${mirror.port}`;

  async function upload(source: PackedSource, name = org.name): Promise<SourceRef> {
    using client = createDistributionClient({ baseUrl: registry.listeningOrigin });
    return (await uploadSource(client, parseRepository(`${name}/web`), source, signal)).source;
  }

  const build = (source: SourceRef): Promise<SolveOutput> =>
    solve(
      {
        address: buildkit.address,
        contextUrl: contextUrl(mirrorAddress(), source),
        dockerfile: "Dockerfile",
        buildArgs: {},
        labels: {},
        noCache: false,
        imageName: `${mirrorAddress()}/${org.name}/web:1`,
      },
      { signal },
    );

  const get = (source: SourceRef, init: RequestInit = {}): Promise<Response> =>
    fetch(contextUrl(mirrorAddress(), source), { ...init, signal });

  test("is built as one tar, and of a changed one only the pack that changed comes over the link", async () => {
    const first = await packed(directory);
    await build(await upload(first));
    expect(new Set(fetched)).toEqual(new Set(first.packs.map(({ digest }) => digest)));

    await writeFile(path.join(directory, "b"), randomBytes(1_500_000));
    const second = await packed(directory);
    const added = second.packs.filter((pack) => first.packs.every(({ digest }) => digest !== pack.digest));
    expect(added).toHaveLength(1);
    // what was read is kept a moment after it was passed on
    await eventually(async () => {
      const here = new Set<string>();
      for await (const { digest } of listBlobs(org.scratch.ns, [], signal)) here.add(digest);
      for (const { digest } of first.packs) expect(here).toContain(digest);
    });
    fetched = [];
    expect(await build(await upload(second))).toMatchObject({ cachedSteps: 0 });
    expect(fetched).toEqual([added[0]!.digest]);
  });

  test("is the tar that was packed, with its list's digest for an entity tag", async () => {
    const source = await packed(directory);
    const ref = await upload(source);
    const answer = await get(ref);
    expect(Buffer.from(await answer.arrayBuffer()).equals(Buffer.concat(source.packs.map((pack) => source.bytesOf(pack))))).toBe(true);
    const head = await get(ref, { method: "HEAD" });
    expect([head.status, head.headers.get("etag"), head.headers.get("content-length")]).toEqual([
      200,
      `"${ref.digest}"`,
      String(ref.sizeBytes),
    ]);
    const known = await get(ref, { headers: { "if-none-match": `"${ref.digest}"` } });
    expect(known.status).toBe(304);
    expect((await get({ ...ref, digest: digestOf("none") })).status).toBe(404);
  });

  test("may be one blob, a tar, as runs of before have it, and is looked through as well", async () => {
    using client = createDistributionClient({ baseUrl: registry.listeningOrigin });
    const repository = parseRepository(`${org.name}/web`);
    const upload = async (bytes: Buffer): Promise<SourceRef> => {
      const ref = { repository, digest: digestOf(bytes), sizeBytes: bytes.length };
      await client.pushBlob(repository, sourceOf(bytes, ref.digest), signal);
      return ref;
    };
    const tar = await tarOf({ Dockerfile: "FROM scratch\nCOPY . /\n", [`${"long/".repeat(40)}é`]: "text" });
    const ref = await upload(tar);
    expect(Buffer.from(await (await get(ref)).arrayBuffer()).equals(tar)).toBe(true);
    await build(ref);
    const hostile = await upload(gzipSync(tar));
    await expect(build(hostile)).rejects.toThrow(SourceUnavailable);
    expect(mirror.orgs.sourceFault(org.name, hostile)).toContain("it is no plain tar");
  });

  test("another org's is not there, whoever knows its name, and none is an image or read as one", async () => {
    const source = await packed(directory);
    expect((await get(await upload(source, "stranger"))).status).toBe(404);
    const ref = await upload(source);
    await get(ref).then((answer) => answer.arrayBuffer());
    const names = (await listImages(org.scratch.ns, [], signal)).map(({ name }) => name).filter((name) => name.includes(ref.digest));
    expect(names).toEqual([expect.stringContaining(`/build_sources/${org.name}/web@`)]);
    expect((await fetch(`${org.baseUrl}/v2/${org.name}/web/blobs/${ref.digest}?ns=build_sources`)).status).toBe(404);
    expect((await fetch(`${org.baseUrl}/v2/build_sources/${org.name}/web/manifests/${ref.digest}`)).status).toBe(404);
  });

  const file = (name: string, sizeBytes: number): SourceEntry => ({
    kind: "file",
    path: name,
    mode: 0o644,
    sizeBytes,
    identity: "",
    changedAtMs: 0,
  });
  const dockerfile = Buffer.concat([tarHeader(file("Dockerfile", 13)), Buffer.from("FROM scratch\n"), Buffer.alloc(499)]);
  const device = (): Buffer => {
    const header = Buffer.from(tarHeader(file("dev/sda", 0)));
    header.write("4", 156, "latin1");
    header.write("        ", 148, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return header;
  };

  test.each<[string, readonly Buffer[], string]>([
    ["a path that leads out", [dockerfile, tarHeader(file("a/../../out", 0)), tarEnd], '"a/../../out": its path holds ".."'],
    ["a device", [dockerfile, device(), tarEnd], '"dev/sda": it is a block device'],
    ["a gzip", [gzipSync(randomBytes(3000))], "it is no plain tar"],
    ["no end", [dockerfile, randomBytes(512)], "it is no plain tar"],
  ])("with %s ends its build at once, and says why", async (_what, packs, reason) => {
    const ref = await upload(handmade(packs));
    const failure = await build(ref).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(SourceUnavailable);
    const ask = async (name: string, source: SourceRef) => ({ fault: mirror.orgs.sourceFault(name, source) ?? null });
    const told = await sourceFailure(failure, { org: org.name, sources: [ref] }, ask, signal);
    expect(told).toBeInstanceOf(BuildFailed);
    expect((told as Error).message).toContain(reason);
    expect((await get(ref)).status).toBe(400);
  });

  test("that is an image in truth ends its build at once, and says so", async () => {
    using client = createDistributionClient({ baseUrl: registry.listeningOrigin });
    const ref = await upload(handmade([dockerfile, tarEnd]));
    const image = Buffer.from(handmade([dockerfile, tarEnd]).manifest.toString().replace("vnd.slipway.source.v1+json", "x"));
    const digest = digestOf(image);
    await client.pushManifest(ref.repository, { kind: "digest", digest }, mediaTypes.imageManifest, image, signal);
    await expect(build({ ...ref, digest })).rejects.toThrow(SourceUnavailable);
    expect(mirror.orgs.sourceFault(org.name, { ...ref, digest })).toContain("is no list of packs");
  });

  test("a build whose source cannot be fetched now may be tried again", async () => {
    const text = Buffer.from(`FROM scratch\nCOPY . /\nLABEL lost=${randomBytes(8).toString("hex")}\n`);
    const entry = [tarHeader(file("Dockerfile", text.length)), text, Buffer.alloc(512 - text.length)];
    const lost = handmade([Buffer.concat([...entry, tarEnd])]);
    const ref = await upload(lost);
    await store.deletes!.blob(ref.repository, lost.packs[0]!.digest, signal);
    const failure = await build(ref).catch((error: unknown) => error);
    const ask = async (name: string, source: SourceRef) => ({ fault: mirror.orgs.sourceFault(name, source) ?? null });
    expect(await sourceFailure(failure, { org: org.name, sources: [ref] }, ask, signal)).toBe(failure);
    expect(failure).toBeInstanceOf(SourceUnavailable);
    await upload(lost);
    await build(ref);
  });
});

test("a build's read token gives its own source and nothing else", async () => {
  await using guarded = await openGuardedMirror("secret");
  const { acme, rival, tokens, registry, own } = guarded;
  using client = createDistributionClient({
    baseUrl: registry.url,
    credentials: { username: "slipway", password: registry.systemToken },
  });
  const upload = async (text: string) => {
    const header = tarHeader({ kind: "file", path: text, mode: 0o644, sizeBytes: 0, identity: "", changedAtMs: 0 });
    return (await uploadSource(client, parseRepository(own.repository), handmade([header, tarEnd]), signal)).source;
  };
  const [mine, other] = [await upload("mine"), await upload("other")];
  const read = async (org: MirroredOrg, source: SourceRef, scope: { app: string; blob?: typeof mine.digest } | undefined) => {
    const token = scope === undefined ? undefined : (await tokens.mint({ org: acme.name, ...scope }, 60_000, Date.now())).token;
    const { pathname } = new URL(contextUrl("mirror.test", source));
    return (await guarded.send(org, "GET", pathname, token === undefined ? {} : { as: { authorization: basic(token) } })).status;
  };
  expect(await read(acme, mine, { app: "web", blob: mine.digest })).toBe(200);
  expect(await read(acme, other, { app: "web", blob: mine.digest })).toBe(403);
  expect(await read(acme, mine, { app: "api", blob: mine.digest })).toBe(403);
  expect(await read(acme, mine, undefined)).toBe(401);
  expect(await read(rival, mine, { app: "web", blob: mine.digest })).toBe(401);
});
