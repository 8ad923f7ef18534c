import { randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { gcLabels } from "../../../containerd/labels.ts";
import { chainIds } from "../../../containerd/chain-id.ts";
import { statSnapshot } from "../../../containerd/snapshots.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { eventually } from "../../support/eventually.ts";
import {
  type MirrorHarness,
  type MirroredOrg,
  openMirrorHarness,
  orgName,
  pushBlobs,
  pushImage,
  sourceOf,
} from "../../support/mirror-harness.ts";
import { type TestImage, blobOf, imageOf, manifestOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const snapshotter = "overlayfs";
const someImage = (layers = 3) => imageOf(Array.from({ length: layers }, (_, i) => ({ "opt/": "", [`opt/file-${i}`]: randomUUID() })));

describe("layers that arrive before their manifest", () => {
  let mirror: MirrorHarness;
  let org: MirroredOrg;
  beforeAll(async () => {
    mirror = await openMirrorHarness();
    org = await mirror.org(orgName("arrivals"));
  });
  afterAll(() => mirror[Symbol.asyncDispose]());
  afterEach(async () => {
    await eventually(async () => expect(await extracts(org)).toEqual([]));
  });

  it("are applied while the push goes on, kept from the collector, and get the image's chain ids with the manifest", async () => {
    const image = await someImage();
    const repository = org.repository("early");
    await pushBlobs(org.client, repository, image);
    await eventually(async () => expect(await extracts(org)).toHaveLength(3));
    await org.scratch.collect();
    const applied = await Promise.all(
      image.layers.map(async ({ descriptor }) => folderOf(org, (await extractOf(org, descriptor.digest))!)),
    );

    await pushImage(org.client, repository, "v1", image);
    expect(await extracts(org)).toEqual([]);
    const lower = await lowerFolders(org, image);
    expect(lower.toReversed()).toEqual(applied);
    await org.scratch.collect();
    expect((await statSnapshot(org.scratch.ns, snapshotter, chainIds(image.diffIds).at(-1)!, signal))?.committed).toBe(true);
  });

  it("are applied once when they come twice at the same time, from two repositories", async () => {
    const image = await someImage(2);
    const repositories = ["one", "two"].map((app) => org.repository(app));
    await Promise.all(repositories.map((repository) => pushBlobs(org.client, repository, image)));
    await eventually(async () => expect(await extracts(org)).toHaveLength(2));
    await Promise.all(repositories.map((repository) => pushImage(org.client, repository, "v1", image)));
  });

  it("are given to one place of the image and applied anew for the other when the image has them twice", async () => {
    const twice = { "opt/": "", [`opt/${randomUUID()}`]: "" };
    const image = await imageOf([twice, { "etc/": "", "etc/between": randomUUID() }, twice]);
    await pushBlobs(org.client, org.repository("twice"), image);
    await eventually(async () => expect(await extracts(org)).toHaveLength(2));
    await pushImage(org.client, org.repository("twice"), "v1", image);
    expect((await statSnapshot(org.scratch.ns, snapshotter, chainIds(image.diffIds)[2]!, signal))?.committed).toBe(true);
  });

  it("are removed when the config says that they unpack to something else", async () => {
    const honest = await someImage(2);
    const lying = await imageOf([{ evil: randomUUID() }, { evil: randomUUID() }], { diffIds: honest.diffIds });
    await pushBlobs(org.client, org.repository("lying"), lying);
    await eventually(async () => expect(await extracts(org)).toHaveLength(2));
    await pushImage(org.client, org.repository("lying"), "v1", lying);
    expect(await statSnapshot(org.scratch.ns, snapshotter, honest.diffIds[0]!, signal)).toBeUndefined();
    expect(mirror.warnings.splice(0)).toHaveLength(1);
  });

  it("are removed when they are part of no image: an artifact's archive", async () => {
    const image = await someImage(1);
    const artifact = manifestOf(blobOf(`{"${randomUUID()}":1}`, "application/vnd.example.config"), image.layers);
    const repository = org.repository("artifact");
    await pushBlobs(org.client, repository, { ...image, manifest: artifact, config: { ...image.config } });
    await eventually(async () => expect(await extracts(org)).toHaveLength(1));
    await pushImage(org.client, repository, "v1", image);
  });

  it("leave nothing when they only look like layers", async () => {
    const repository = org.repository("looks");
    for (const bytes of [gzipSync(randomUUID()), Buffer.from(randomUUID()), Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0]), Buffer.alloc(0)]) {
      await org.client.pushBlob(repository, sourceOf(bytes, blobOf(bytes, "x").descriptor.digest), signal);
    }
    const image = await someImage(1);
    await pushBlobs(org.client, repository, image);
    // in the queue behind them
    await eventually(async () => expect(await extractOf(org, image.layers[0]!.descriptor.digest)).toBeDefined());
    await pushImage(org.client, repository, "v1", image);
  });

  it("are applied as their manifest declares them when their bytes look otherwise", async () => {
    const image = await someImage(1);
    const layer = { ...image.layers[0]!, descriptor: { ...image.layers[0]!.descriptor, mediaType: mediaTypes.layerTar } };
    const wrong: TestImage = { ...image, layers: [layer], manifest: manifestOf(image.config, [layer]) };
    await pushBlobs(org.client, org.repository("declared"), wrong);
    await eventually(async () => expect(await extracts(org)).toHaveLength(1));
    await pushImage(org.client, org.repository("declared"), "v1", wrong);
    expect(await statSnapshot(org.scratch.ns, snapshotter, image.diffIds[0]!, signal)).toBeUndefined();
    expect(mirror.warnings.splice(0)).toHaveLength(1);
  });
});

describe("layers of pushes that never end", () => {
  it("are removed when the push is idle for too long", async () => {
    await using mirror = await openMirrorHarness({ pushIdleMs: 1_500 });
    const org = await mirror.org(orgName("idle"));
    await pushBlobs(org.client, org.repository("idle"), await someImage());
    await eventually(async () => expect(await extracts(org)).toHaveLength(3));
    await eventually(async () => expect(await extracts(org)).toEqual([]));
  });

  it("are removed when the mirror stops", async () => {
    await using mirror = await openMirrorHarness();
    const org = await mirror.org(orgName("stops"));
    await pushBlobs(org.client, org.repository("stops"), await someImage());
    await eventually(async () => expect((await extracts(org)).length).toBeGreaterThan(0));
    await mirror.orgs[Symbol.asyncDispose]();
    expect(await extracts(org)).toEqual([]);
  });
});

async function extracts({ scratch }: MirroredOrg): Promise<string[]> {
  const names: string[] = [];
  for await (const { info } of scratch.ns.snapshots.list({ snapshotter }, { signal })) names.push(...info.map(({ name }) => name));
  return names.filter((name) => name.startsWith("extract-"));
}

async function extractOf(org: MirroredOrg, digest: string): Promise<string | undefined> {
  return (await extracts(org)).find((name) => name.endsWith(digest));
}

async function folderOf({ scratch }: MirroredOrg, key: string): Promise<string> {
  return (await scratch.ns.snapshots.mounts({ snapshotter, key }, { signal })).mounts[0]!.source;
}

/** Folders of the image's layers, uppermost first. */
async function lowerFolders({ scratch }: MirroredOrg, image: TestImage): Promise<string[]> {
  const key = `view-${randomUUID()}`;
  // else a collection in between takes it
  const labels = { [gcLabels.root]: new Date().toISOString() };
  const { mounts } = await scratch.ns.snapshots.view({ snapshotter, key, parent: chainIds(image.diffIds).at(-1)!, labels }, { signal });
  await scratch.ns.snapshots.remove({ snapshotter, key }, { signal });
  const lower = mounts[0]!.options.find((option) => option.startsWith("lowerdir="))!;
  return lower.slice("lowerdir=".length).split(":");
}
