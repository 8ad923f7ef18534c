import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { statBlob } from "../../../containerd/content.ts";
import { getImage, labelImage, listImages } from "../../../containerd/images.ts";
import { pruneHost } from "../../../mirror/prune/prune-host.ts";
import { lastUseOfFetched } from "../../../mirror/pull/fetched-record.ts";
import type { ReadableStore } from "../../../mirror/pull/readable-store.ts";
import { createUpstreamStore } from "../../../mirror/pull/upstream.ts";
import { type DistributionClient, createDistributionClient } from "../../../oci/distribution-client.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import {
  type MirrorHarness,
  type MirroredOrg,
  imageHost,
  openMirrorHarness,
  orgName,
  pushBlobs,
  pushImage,
} from "../../support/mirror-harness.ts";
import { type TestImage, imageOf, indexOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const someImage = () => imageOf([{ a: randomUUID() }, { b: randomUUID() }]);
const tagged = (tag: string) => ({ kind: "tag", tag: tag as never }) as const;
const byDigest = ({ manifest }: Pick<TestImage, "manifest">) => ({ kind: "digest", digest: manifest.descriptor.digest }) as const;

type Reader = { readonly org: MirroredOrg; readonly client: DistributionClient };

describe("what an org pulls of other registries", () => {
  const stack = new AsyncDisposableStack();
  const base = parseRepository("library/base");
  let registry: MirrorHarness;
  let library: MirroredOrg;
  let front: MirrorHarness;
  let direct: ReadableStore;
  let askedBlobs = 0;
  let isReachable = true;

  // a registry is a registry: docker.test is a mirror, too
  beforeAll(async () => {
    registry = stack.use(await openMirrorHarness({ upstreamUrl: "none" }));
    library = await registry.org("library");
    direct = createUpstreamStore(library.client, { downMs: 10 });
    const dead = createUpstreamStore(createDistributionClient({ baseUrl: "http://127.0.0.1:9" }), { downMs: 10 });
    const counted: ReadableStore = {
      ...direct,
      blobs: {
        ...direct.blobs,
        read(repository, digest, range, reading) {
          askedBlobs += 1;
          return direct.blobs.read(repository, digest, range, reading);
        },
      },
    };
    front = stack.use(await openMirrorHarness({ publicRegistry: () => (isReachable ? counted : dead) }));
  });
  afterAll(() => stack.disposeAsync());

  async function openReader(): Promise<Reader> {
    const org = await front.org(orgName("reader"));
    return { org, client: createDistributionClient({ baseUrl: org.baseUrl, ns: "docker.test" }) };
  }

  async function offline<T>(task: () => Promise<T>): Promise<T> {
    isReachable = false;
    try {
      return await task();
    } finally {
      isReachable = true;
    }
  }

  it("is content of this host: it crosses once, outlives a collection, and is read while no registry can be asked", async () => {
    const image = await someImage();
    await pushImage(library.client, library.repository("base"), "v1", image);
    const { org, client } = await openReader();
    await client.resolveManifest(base, tagged("v1"), signal);
    const read = [image.config, image.layers[0]!];
    const before = askedBlobs;
    for (const blob of read) expect(await readKept({ org, client }, base, blob)).toEqual(blob.bytes);
    expect(askedBlobs - before).toBe(2);
    await org.scratch.collect();

    await offline(async () => {
      for (const blob of read) expect(await readBlob(client, base, blob)).toEqual(blob.bytes);
      expect((await client.resolveManifest(base, tagged("v1"), signal))?.digest).toBe(image.manifest.descriptor.digest);
      expect((await client.readManifest(base, tagged("v1"), signal))?.bytes).toEqual(image.manifest.bytes);
      expect((await client.readManifest(base, byDigest(image), signal))?.bytes).toEqual(image.manifest.bytes);
      await expect(client.resolveManifest(base, tagged("v2"), signal)).rejects.toMatchObject({ status: 503 });
      await expect(readBlob(client, base, image.layers[1]!)).rejects.toMatchObject({ status: 503 });
    });
    expect(askedBlobs - before).toBe(2);
  });

  it("is nobody else's: another org has to ask the registry", async () => {
    const image = await someImage();
    await pushImage(library.client, library.repository("base"), "v3", image);
    const [one, other] = [await openReader(), await openReader()];
    await one.client.readManifest(base, tagged("v3"), signal);
    await offline(() => expect(other.client.resolveManifest(base, tagged("v3"), signal)).rejects.toMatchObject({ status: 503 }));
  });

  it("keeps an index of which only one image was read, and that image", async () => {
    const [read, unread] = [await someImage(), await someImage()];
    const repository = library.repository("base");
    for (const { manifest, ...image } of [read, unread]) {
      await pushBlobs(library.client, repository, { manifest, ...image });
      await library.client.pushManifest(repository, byDigest({ manifest }), manifest.descriptor.mediaType, manifest.bytes, signal);
    }
    const index = indexOf([read.manifest.descriptor, unread.manifest.descriptor]);
    await library.client.pushManifest(repository, tagged("many"), mediaTypes.imageIndex, index.bytes, signal);
    const { org, client } = await openReader();
    await client.readManifest(base, tagged("many"), signal);
    await client.readManifest(base, byDigest(read), signal);
    await readKept({ org, client }, base, read.config);
    await org.scratch.collect();
    await offline(async () => {
      expect((await client.readManifest(base, tagged("many"), signal))?.descriptor).toEqual(index.descriptor);
      expect((await client.readManifest(base, byDigest(read), signal))?.bytes).toEqual(read.manifest.bytes);
      expect(await readBlob(client, base, read.config)).toEqual(read.config.bytes);
      await expect(client.readManifest(base, byDigest(unread), signal)).rejects.toMatchObject({ status: 503 });
    });
  });

  it("follows a tag that moves", async () => {
    const [first, second] = [await someImage(), await someImage()];
    const { client } = await openReader();
    for (const image of [first, second]) {
      await pushImage(library.client, library.repository("base"), "latest", image);
      expect((await client.readManifest(base, tagged("latest"), signal))?.descriptor).toEqual(image.manifest.descriptor);
    }
    const kept = await offline(() => client.resolveManifest(base, tagged("latest"), signal));
    expect(kept?.digest).toBe(second.manifest.descriptor.digest);
  });

  it("is no repository of the org's, no image that can be deployed, and nothing is unpacked for it", async () => {
    const image = await someImage();
    await pushImage(library.client, library.repository("base"), "v4", image);
    const { org, client } = await openReader();
    await client.readManifest(base, tagged("v4"), signal);
    for (const blob of [image.config, ...image.layers]) await readKept({ org, client }, base, blob);
    const copy = `${org.baseUrl}/v2/docker.test/library/base`;
    expect((await fetch(`${copy}/manifests/v4`)).status).toBe(404);
    expect((await fetch(`${copy}/blobs/${image.config.descriptor.digest}`)).status).toBe(404);
    expect((await fetch(`${copy}/blobs/uploads/`, { method: "POST" })).status).toBe(404);
    expect(await front.images.list(org.name, signal)).toEqual([]);
    for await (const { info } of org.scratch.ns.snapshots.list({ snapshotter: "overlayfs" }, { signal })) expect(info).toEqual([]);
  });

  it("never gives another app's bytes, whatever a stranger's manifest names", async () => {
    const image = await someImage();
    const { org, client } = await openReader();
    await pushImage(org.client, org.repository("victim"), "v1", image);
    await pushImage(library.client, library.repository("stranger"), "v1", image);
    const stranger = parseRepository("library/stranger");
    await client.readManifest(stranger, tagged("v1"), signal);
    await offline(() => expect(readBlob(client, stranger, image.layers[0]!)).rejects.toMatchObject({ status: 503 }));
  });

  it("goes with a prune when no build has read it for long, and stays when one has", async () => {
    const [old, used] = [await someImage(), await someImage()];
    const { org, client } = await openReader();
    for (const [tag, image] of [
      ["old", old],
      ["fresh", used],
    ] as const) {
      await pushImage(library.client, library.repository("base"), tag, image);
      await client.readManifest(base, tagged(tag), signal);
      await readKept({ org, client }, base, image.config);
    }
    // two hours later, of which one was read in the last
    const laterMs = Date.now() + 2 * 3_600_000;
    for (const record of await listImages(org.scratch.ns, [], signal)) {
      const usedLately = { "slipway.used": new Date(laterMs - 1_000).toISOString() };
      if (record.target.digest === used.manifest.descriptor.digest) await labelImage(org.scratch.ns, record, usedLately, signal);
    }
    const policy = { keepReleases: 1, keepForMs: 0, keepUnusedForMs: 3_600_000, lowDiskBytes: 0 };
    const claims = { releases: [], openRunTags: [], replicating: [] };
    const pass = { host: "test", dryRun: false, policy, orgs: [org.name], claims, surveyedAtMs: laterMs };
    const deps = { containerd: org.scratch.containerd, snapshotter: "overlayfs", imageHost, upstream: library.client };
    // what was read last may be under the lease of its fetch for a moment
    const removed = async () => (await pruneHost(deps, pass, () => undefined, signal)).removals.map(({ name }) => name);
    await expect.poll(removed, { timeout: 30_000 }).toEqual([`${imageHost}/docker.test/library/base:old`]);
    await offline(async () => {
      await expect(client.readManifest(base, tagged("old"), signal)).rejects.toMatchObject({ status: 503 });
      expect(await readBlob(client, base, used.config)).toEqual(used.config.bytes);
    });
  });

  it("notes when it was used last, so that a prune leaves alone what builds read", async () => {
    const image = await someImage();
    await pushImage(library.client, library.repository("base"), "used", image);
    const { org, client } = await openReader();
    await client.readManifest(base, tagged("used"), signal);
    const name = `${imageHost}/docker.test/library/base:used`;
    const record = async () => (await getImage(org.scratch.ns, name, signal))!;
    const lastUse = async () => lastUseOfFetched((await record()).labels)!;
    const longAgo = { "slipway.used": new Date(0).toISOString() };
    expect(await labelImage(org.scratch.ns, await record(), longAgo, signal)).toBe(true);
    await client.readManifest(base, tagged("used"), signal);
    await expect.poll(lastUse, { timeout: 30_000 }).toBeGreaterThan(0);
  });
});

/** Reads it, and waits until it is kept: a reader has all of a blob a moment earlier. */
async function readKept({ org, client }: Reader, repository: Repository, blob: TestImage["config"]): Promise<Buffer> {
  const bytes = await readBlob(client, repository, blob);
  await expect.poll(() => statBlob(org.scratch.ns, blob.descriptor.digest, signal), { timeout: 30_000 }).toBeDefined();
  return bytes;
}

async function readBlob(client: DistributionClient, repository: Repository, { descriptor }: TestImage["config"]): Promise<Buffer> {
  const content = await client.readBlob(repository, descriptor.digest, undefined, signal);
  return Buffer.concat(await content!.body.toArray());
}
