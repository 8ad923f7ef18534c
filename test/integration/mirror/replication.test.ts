import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { pushUpstream } from "../../../mirror/replicate/replicate.ts";
import { createUnfinishedUploads } from "../../../mirror/replicate/unfinished-uploads.ts";
import { type DistributionClient, createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseTag } from "../../../oci/repository.ts";
import { type CuttingLink, openCuttingLink } from "../../support/cutting-link.ts";
import { eventually } from "../../support/eventually.ts";
import { type MirrorHarness, type MirroredOrg, openMirrorHarness, orgName, pushImage } from "../../support/mirror-harness.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import type { ReplicateOnce } from "../../support/replicate-once.ts";
import { type TestImage, imageOf } from "../../support/test-image.ts";
import { createRegistryProcess } from "../registry/registry-process.ts";
import { openScratchBucket } from "../registry/scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const layerBytes = 40 * mebibyte;

describe("replication over a link that breaks", () => {
  const stack = new AsyncDisposableStack();
  let mirror: MirrorHarness;
  let org: MirroredOrg;
  let link: CuttingLink;
  let upstream: DistributionClient;
  let registryUrl: string;

  beforeAll(async () => {
    const bucket = stack.use(await openScratchBucket());
    const registry = stack.use(await createRegistryProcess(bucket.bucket));
    await registry.start();
    registryUrl = registry.url;
    link = stack.use(await openCuttingLink(registry.url));
    mirror = stack.use(await openMirrorHarness({ upstreamUrl: "none" }));
    org = await mirror.org(orgName("replicated"));
    upstream = stack.use(createDistributionClient({ baseUrl: link.url }));
  });
  afterAll(() => stack.disposeAsync());

  /** One attempt of a worker that knows nothing but what is in the folder. */
  async function attempt(app: string, image: TestImage, uploadsDir: string, client = upstream) {
    const uploads = createUnfinishedUploads(uploadsDir);
    const { containerd } = org.scratch;
    return await pushUpstream(namedImage(app, image), { containerd, client, uploads, signal });
  }
  const namedImage = (app: string, { manifest }: TestImage) => ({
    org: org.name,
    repository: org.repository(app),
    digest: manifest.descriptor.digest,
    tag: parseTag("v1"),
  });
  async function pushed(app: string): Promise<TestImage> {
    const image = await imageOf([{ data: randomBytes((layerBytes / 4) * 3).toString("base64") }], { compressed: false });
    await pushImage(org.client, org.repository(app), "v1", image);
    return image;
  }
  async function expectUpstreamHas(app: string, image: TestImage): Promise<void> {
    using direct = createDistributionClient({ baseUrl: registryUrl });
    const { digest, size } = image.layers[0]!.descriptor;
    const content = await direct.readBlob(org.repository(app), digest, undefined, signal);
    const bytes = Buffer.concat(await content!.body.toArray());
    expect(bytes.length).toBe(size);
    expect(bytes.equals(image.layers[0]!.bytes)).toBe(true);
    const { manifest } = image;
    const found = await direct.readManifest(org.repository(app), { kind: "digest", digest: manifest.descriptor.digest }, signal);
    expect(found?.bytes).toEqual(manifest.bytes);
  }
  async function ownDir(): Promise<string> {
    const dir = await makeOwnedDir();
    stack.defer(() => removeOwnedDir(dir));
    return path.join(dir, "uploads");
  }

  it("goes on where upstream stands after each of several cuts, and sends little twice", async () => {
    const image = await pushed("cut");
    const [before, cutsBefore] = [link.sentBytes(), link.cuts()];
    link.cutEvery(12 * mebibyte);
    const progress = await attempt("cut", image, await ownDir()).finally(() => link.cutEvery(undefined));
    expect(link.cuts() - cutsBefore).toBeGreaterThanOrEqual(3);
    expect(link.sentBytes() - before).toBeLessThan(1.5 * layerBytes);
    expect(progress.sentBytes).toBe(progress.totalBytes);
    await expectUpstreamHas("cut", image);
  });

  it("goes on in mid-blob in a later attempt, once the link is back", async () => {
    const image = await pushed("later");
    const dir = await ownDir();
    link.breakAfter(26 * mebibyte);
    await expect(attempt("later", image, dir)).rejects.toMatchObject({ retryable: true });
    const [file] = await readdir(dir);
    expect(file).toBeDefined();
    link.mend();
    const before = link.sentBytes();
    const progress = await attempt("later", image, dir);
    expect(progress.skippedBytes).toBeGreaterThanOrEqual(16 * mebibyte);
    expect(progress.sentBytes + progress.skippedBytes).toBe(progress.totalBytes);
    expect(link.sentBytes() - before).toBeLessThan(layerBytes - 16 * mebibyte + mebibyte);
    expect(await readdir(dir)).toEqual([]);
    await expectUpstreamHas("later", image);
  });

  it("goes on in mid-blob after its worker was killed", async () => {
    const image = await pushed("killed");
    const uploadsDir = await ownDir();
    const before = link.sentBytes();
    const asked: ReplicateOnce = {
      socket: inject("containerdSocket"),
      image: namedImage("killed", image),
      upstreamUrl: link.url,
      uploadsDir,
      bytesPerSecond: 16 * mebibyte,
    };
    const script = path.resolve(import.meta.dirname, "../../support/replicate-once.ts");
    const child = spawn(process.execPath, [script, JSON.stringify(asked)], { stdio: "ignore" });
    const exited = once(child, "exit");
    await eventually(() => expect(link.sentBytes() - before).toBeGreaterThan(20 * mebibyte), 60_000);
    child.kill("SIGKILL");
    await exited;
    const killedAt = link.sentBytes();
    const progress = await attempt("killed", image, uploadsDir);
    expect(progress.skippedBytes).toBeGreaterThanOrEqual(16 * mebibyte);
    expect(progress.sentBytes + progress.skippedBytes).toBe(progress.totalBytes);
    // what the killed one had written may still be on its way: some MiB in the buffers of sockets
    expect(link.sentBytes() - killedAt).toBeLessThan(layerBytes);
    await expectUpstreamHas("killed", image);
  });

  it("begins anew when upstream has lost the upload meanwhile", async () => {
    const image = await pushed("lost");
    const dir = await ownDir();
    link.breakAfter(26 * mebibyte);
    await expect(attempt("lost", image, dir)).rejects.toMatchObject({ retryable: true });
    link.mend();
    const [file] = await readdir(dir);
    const { location } = JSON.parse(await readFile(path.join(dir, file!), "utf8")) as { location: string };
    expect((await fetch(location, { method: "DELETE" })).status).toBe(204);
    const { skippedBytes } = await attempt("lost", image, dir);
    // the config is there
    expect(skippedBytes).toBeLessThan(mebibyte);
    await expectUpstreamHas("lost", image);
  });

  it("sends one blob once, though two attempts that need it run at a time", async () => {
    const image = await pushed("shared");
    const uploads = createUnfinishedUploads(await ownDir());
    const options = { containerd: org.scratch.containerd, client: upstream, uploads, signal };
    const before = link.sentBytes();
    await Promise.all([1, 2].map(() => pushUpstream(namedImage("shared", image), options)));
    expect(link.sentBytes() - before).toBeLessThan(1.1 * layerBytes);
    await expectUpstreamHas("shared", image);
  });
});
