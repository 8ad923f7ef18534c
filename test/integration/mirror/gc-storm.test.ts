import { randomInt } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import { listBlobs, readBlobBytes } from "../../../containerd/content.ts";
import { listLeases } from "../../../containerd/leases.ts";
import { type HostImages, createHostImages } from "../../../mirror/images/host-images.ts";
import { type ContainerdStore, createContainerdStore } from "../../../mirror/store/containerd-store.ts";
import { membership } from "../../../mirror/store/org-repository.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { type Repository, parseRepository, parseTag } from "../../../oci/repository.ts";
import { imageHost, orgName } from "../../support/mirror-harness.ts";
import { type OwnContainerd, startContainerd } from "../../support/own-containerd.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import { type Blob, blobOf, imageOf, indexOf, manifestOf } from "../../support/test-image.ts";

/** of its own for each call: one for all of them would hold on to what each has hung on it */
const limit = (): AbortSignal => AbortSignal.timeout(60_000);
const pushes = 1000;
const pushers = 8;
const collectEveryMs = 1000;
const diskBytes = 16 * 1024 ** 3;

const snapshotter = "overlayfs";
const org = orgName("storm");

let daemon: OwnContainerd;
let scratch: ScratchNamespace;
let store: ContainerdStore;
let hostImages: HostImages;
const warnings: object[] = [];
beforeAll(async () => {
  daemon = await startContainerd({ diskBytes });
  scratch = await openScratchNamespace(daemon.socket, orgNamespace(org));
  const { containerd } = scratch;
  const warn = (fields: object) => void warnings.push(fields);
  store = createContainerdStore({ containerd, org, imageHost, snapshotter, log: { info: () => undefined, warn, error: warn } });
  const settings = { registry: { url: "http://127.0.0.1:9", listen: { host: "127.0.0.1", port: 9 }, imageHost } };
  hostImages = createHostImages({
    containerd,
    settings: { ...settings, containerd: { socket: daemon.socket, managed: true, snapshotter } },
  });
});
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  await scratch.containerd[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
});

/** What the mirror has said yes to, and must have at the end. */
type Acknowledged = {
  readonly repositories: readonly Repository[];
  /** by repository and digest, each with its manifest and all that this names */
  readonly images: Map<string, { readonly repository: Repository; readonly parts: readonly Blob[] }>;
  /** undefined: deleted */
  readonly tags: Map<string, { readonly repository: Repository; readonly tag: string; readonly digest: Digest | undefined }>;
  readonly runnable: { readonly repository: Repository; readonly tag: string; readonly digest: Digest }[];
  readonly referrers: { readonly repository: Repository; readonly subject: Digest; readonly digest: Digest }[];
  readonly tally: Map<string, number>;
};

const layerType = "application/vnd.storm.layer";
type Image = { readonly manifest: Blob; readonly blobs: readonly Blob[]; readonly isRunnable: boolean };
type Random = ReturnType<typeof seededRandom>;
type Pool = { readonly layers: readonly Blob[]; readonly runnable: readonly Awaited<ReturnType<typeof imageOf>>[] };

/** Layers that many images share: most are no archives, as unpacking is not what this is about. */
async function makePool(): Promise<Pool> {
  const layers = Array.from({ length: 40 }, (_, at) => blobOf(`layer ${at} `.repeat(at + 1), layerType));
  const runnable = await Promise.all(Array.from({ length: 12 }, (_, at) => imageOf([{ [`base-${at % 3}`]: "x" }, { [`app-${at}`]: "y" }])));
  return { layers, runnable };
}

function makeImage(random: Random, pool: Pool, name: string, extra: Readonly<Record<string, unknown>> = {}): Image {
  if (random.chance(0.1)) {
    const { config, layers } = random.pick(pool.runnable);
    const named = blobOf(JSON.stringify({ ...(JSON.parse(config.bytes.toString()) as object), author: name }), mediaTypes.imageConfig);
    return { manifest: manifestOf(named, layers, extra), blobs: [...layers, named], isRunnable: true };
  }
  const layers = Array.from({ length: 1 + random.below(2) }, () => random.pick(pool.layers));
  return artifactOf(name, layers, extra);
}

function artifactOf(name: string, layers: readonly Blob[], extra: Readonly<Record<string, unknown>> = {}): Image {
  const config = blobOf(name, "application/vnd.storm.config");
  return { manifest: manifestOf(config, layers, extra), blobs: [...layers, config], isRunnable: false };
}

/** One builder: asks, mounts, sends, names, moves tags and deletes them, in several repositories. */
async function pushAlong(worker: number, random: Random, pool: Pool, acknowledged: Acknowledged, isOver: () => boolean): Promise<void> {
  const { images, repositories, tags, tally } = acknowledged;
  const count = (what: string) => void tally.set(what, (tally.get(what) ?? 0) + 1);
  let made = 0;

  async function bring(repository: Repository, { descriptor, bytes }: Blob): Promise<void> {
    const { digest } = descriptor;
    if ((await store.blobs.stat(repository, digest, limit())) !== undefined) return count("found");
    const mayMount = random.chance(0.5);
    if (mayMount && (await store.blobs.mount(repository, digest, random.pick(repositories), limit())) !== undefined)
      return count("mounted");
    const { id } = await store.uploads.start(repository, limit());
    // what is sent is the store's
    await store.uploads.append(repository, id, 0, Readable.from([Buffer.from(bytes)]), limit());
    await store.uploads.finish(repository, id, digest, limit());
    count("sent");
  }

  async function putManifest(repository: Repository, { descriptor, bytes }: Blob, reference: string = descriptor.digest): Promise<void> {
    await store.manifests.write(repository, parseManifestReference(reference), descriptor.mediaType, bytes, limit());
    count("pushed");
  }

  /** `beforeManifest` happens when the blobs are in, or were found. */
  async function push(repository: Repository, { manifest, blobs, isRunnable }: Image, tag?: string, beforeManifest?: () => Promise<void>) {
    const { digest } = manifest.descriptor;
    for (const blob of blobs) await bring(repository, blob);
    await beforeManifest?.();
    await putManifest(repository, manifest, tag);
    images.set(`${repository}@${digest}`, { repository, parts: [manifest, ...blobs] });
    if (tag === undefined) return;
    tags.set(`${repository}:${tag}`, { repository, tag, digest });
    if (isRunnable) acknowledged.runnable.push({ repository, tag, digest });
  }

  async function pushIndex(repository: Repository, tag: string): Promise<void> {
    const children = [1, 2].map((part) => makeImage(random, pool, `${worker}-${(made += 1)}-${part}`));
    for (const child of children) await push(repository, child);
    const index = indexOf(children.map(({ manifest }) => manifest.descriptor));
    await push(repository, { manifest: index, blobs: [], isRunnable: false }, tag);
  }

  /** The only image that has a layer is deleted and collected, when the next push was told that the layer is here. */
  async function replaceImage(repository: Repository, name: string, tag: string): Promise<void> {
    const layer = blobOf(`layer of ${name}`, layerType);
    const [before, after] = ["before", "after"].map((when) => artifactOf(`${name} ${when}`, [layer])) as [Image, Image];
    await push(repository, before, tag);
    const { digest } = before.manifest.descriptor;
    await push(repository, after, tag, async () => {
      expect(await store.deletes!.manifest(repository, digest, limit())).toBe(true);
      images.delete(`${repository}@${digest}`);
      await scratch.collect();
    });
    count("replaced");
  }

  async function deleteTag(repository: Repository): Promise<void> {
    const mine = [...tags.values()].filter(
      (named) => named.repository === repository && named.digest !== undefined && named.tag.startsWith(`w${worker}-`),
    );
    if (mine.length === 0) return;
    const { tag } = random.pick(mine);
    expect(await store.deletes!.tag(repository, parseTag(tag), limit())).toBe(true);
    tags.set(`${repository}:${tag}`, { repository, tag, digest: undefined });
    count("untagged");
  }

  async function pushReferrer(repository: Repository, subject: Descriptor): Promise<void> {
    const { mediaType, digest, size } = subject;
    const image = makeImage(random, pool, `${worker}-${(made += 1)}`, { subject: { mediaType, digest, size } });
    await push(repository, image);
    acknowledged.referrers.push({ repository, subject: digest, digest: image.manifest.descriptor.digest });
  }

  while (!isOver()) {
    const repository = random.pick(repositories);
    const name = `${worker}-${(made += 1)}`;
    const tag = random.chance(0.5) ? `w${worker}-latest` : `w${worker}-${made}`;
    const image = makeImage(random, pool, name);
    if (random.chance(0.08)) await pushIndex(repository, tag);
    else if (random.chance(0.03)) await replaceImage(repository, name, tag);
    else if (random.chance(0.2)) await push(repository, image);
    else await push(repository, image, tag);
    if (random.chance(0.1)) await deleteTag(repository);
    if (random.chance(0.05)) await pushReferrer(repository, image.manifest.descriptor);
  }
}

async function collectAlong(isOver: () => boolean, { tally }: Acknowledged): Promise<void> {
  while (!isOver()) {
    await scratch.collect();
    tally.set("collections", (tally.get("collections") ?? 0) + 1);
    await sleep(collectEveryMs);
  }
}

/** Everything acknowledged that is not there, not in its repository, or not what it was. */
async function findMissing({ images }: Acknowledged): Promise<string[]> {
  const labels = new Map<string, Readonly<Record<string, string>>>();
  const damaged = new Set<string>();
  for await (const blob of listBlobs(scratch.ns, [], limit())) {
    labels.set(blob.digest, blob.labels);
    const bytes = await readBlobBytes(scratch.ns, blob.digest, { limitBytes: 1024 ** 2 }, limit());
    if (digestOf(bytes) !== blob.digest) damaged.add(blob.digest);
  }
  return [...images.values()].flatMap(({ repository, parts }) =>
    parts.flatMap(({ descriptor: { digest, size } }) => {
      const found = labels.get(digest);
      if (found === undefined) return [`${repository} ${digest}: gone`];
      if (damaged.has(digest)) return [`${repository} ${digest}: damaged`];
      return membership.includes(repository, { digest, sizeBytes: size, labels: found }) ? [] : [`${repository} ${digest}: not a member`];
    }),
  );
}

async function findWrongTags({ tags }: Acknowledged): Promise<string[]> {
  const wrong: string[] = [];
  for (const { repository, tag, digest } of tags.values()) {
    const found = await store.manifests.read(repository, { kind: "tag", tag: parseTag(tag) }, limit());
    if (found?.descriptor.digest !== digest) wrong.push(`${repository}:${tag}: ${found?.descriptor.digest}, expected ${digest}`);
  }
  return wrong;
}

async function findLostReferrers({ referrers }: Acknowledged): Promise<string[]> {
  const lost: string[] = [];
  for (const { repository, subject, digest } of referrers) {
    const listed = await store.referrers!.list(repository, subject, {}, limit());
    if (!listed.referrers.some((referrer) => referrer.digest === digest)) lost.push(`${repository} ${digest} of ${subject}`);
  }
  return lost;
}

const seed = Number(process.env.STORM_SEED ?? randomInt(2 ** 31));

it(`loses nothing of ${pushes} pushes while containerd collects every second (STORM_SEED=${seed})`, async () => {
  const acknowledged: Acknowledged = {
    repositories: ["a", "b", "c", "d/e"].map((app) => parseRepository(`${org}/${app}`)),
    images: new Map(),
    tags: new Map(),
    runnable: [],
    referrers: [],
    tally: new Map(),
  };
  const pool = await makePool();
  let failed = false;
  const isOver = () => failed || (acknowledged.tally.get("pushed") ?? 0) >= pushes;
  const fail = (error: unknown) => {
    failed = true;
    throw error;
  };
  await Promise.all([
    ...Array.from({ length: pushers }, (_, worker) =>
      pushAlong(worker, seededRandom(seed + worker), pool, acknowledged, isOver).catch(fail),
    ),
    collectAlong(isOver, acknowledged).catch(fail),
  ]);

  await expect.poll(() => listLeases(scratch.ns, limit()), { timeout: 30_000 }).toEqual([]);
  expect((await scratch.ns.content.listStatuses({}, { signal: limit() })).statuses).toEqual([]);
  await scratch.collect();
  expect(await findMissing(acknowledged)).toEqual([]);
  expect(await findWrongTags(acknowledged)).toEqual([]);
  expect(await findLostReferrers(acknowledged)).toEqual([]);
  for (const { repository, tag, digest } of acknowledged.runnable) {
    if (acknowledged.tags.get(`${repository}:${tag}`)?.digest === digest) await hostImages.verify({ org, repository, tag }, limit());
  }
  for (const what of ["found", "mounted", "sent", "untagged", "replaced", "collections"])
    expect(acknowledged.tally.get(what), what).toBeGreaterThan(2);
  expect(warnings).toEqual([]);
});
