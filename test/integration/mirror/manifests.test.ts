import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listImages } from "../../../containerd/images.ts";
import { deleteLease, listLeases } from "../../../containerd/leases.ts";
import type { Descriptor } from "../../../oci/descriptor.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import type { ManifestReference } from "../../../oci/reference.ts";
import type { Repository } from "../../../oci/repository.ts";
import { type MirrorHarness, type MirroredOrg, imageHost, openMirrorHarness, orgName, pushBlobs } from "../../support/mirror-harness.ts";
import { type Blob, type TestImage, imageOf, indexOf, manifestOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const someImage = () => imageOf([{ file: randomUUID() }]);
const tagged = (tag: string): ManifestReference => ({ kind: "tag", tag: tag as never });
const byDigest = ({ descriptor }: Blob): ManifestReference => ({ kind: "digest", digest: descriptor.digest });

describe("manifests of the mirror, with the collector at work after every step", () => {
  let mirror: MirrorHarness;
  let org: MirroredOrg;
  beforeAll(async () => {
    mirror = await openMirrorHarness({ upstreamUrl: "none" });
    org = await mirror.org(orgName("manifests"));
  });
  afterAll(() => mirror[Symbol.asyncDispose]());

  const repositoryOf = (app: string) => org.repository(app);
  const url = (repository: Repository, path: string) => `${org.baseUrl}/v2/${repository}/${path}`;
  const ask = (method: string, repository: Repository, path: string) => fetch(url(repository, path), { method });
  /** without what a push that nobody continues would hold for a while, and with the collector's work done */
  const collect = async () => {
    for (const { id } of await listLeases(org.scratch.ns, signal)) await deleteLease(org.scratch.ns, id, signal);
    await org.scratch.collect();
  };
  const put = async (repository: Repository, reference: string, manifest: Blob, headers: Record<string, string> = {}) => {
    const body = Uint8Array.from(manifest.bytes);
    const type = { "content-type": manifest.descriptor.mediaType };
    return fetch(url(repository, `manifests/${reference}`), { method: "PUT", headers: { ...type, ...headers }, body });
  };
  const push = async (repository: Repository, reference: ManifestReference, image: TestImage) => {
    await pushBlobs(org.client, repository, image);
    const { bytes, descriptor } = image.manifest;
    await org.client.pushManifest(repository, reference, descriptor.mediaType, bytes, signal);
  };
  const pushIndex = (repository: Repository, reference: ManifestReference, index: Blob) =>
    org.client.pushManifest(repository, reference, mediaTypes.imageIndex, index.bytes, signal);
  /** All of an image can be read back by its digest, bytes and all. */
  const expectWhole = async (repository: Repository, image: TestImage) => {
    const manifest = await org.client.readManifest(repository, byDigest(image.manifest), signal);
    expect(Buffer.from(manifest!.bytes).equals(image.manifest.bytes)).toBe(true);
    for (const { descriptor, bytes } of [image.config, ...image.layers]) {
      const content = await org.client.readBlob(repository, descriptor.digest, undefined, signal);
      expect(Buffer.concat(await content!.body.toArray()).equals(bytes)).toBe(true);
    }
  };
  const isThere = async (repository: Repository, { digest }: Descriptor) =>
    (await ask("GET", repository, `manifests/${digest}`)).status === 200;
  const namesOf = async (repository: Repository) => {
    const records = await listImages(org.scratch.ns, [], signal);
    const prefix = `${imageHost}/${repository}`;
    return records.filter(({ name }) => name.startsWith(prefix)).map(({ name }) => name.slice(prefix.length));
  };

  it("keeps what a tag named before under its digest, each time it moves, and until it is named again", async () => {
    const repository = repositoryOf("moving");
    const images = [await someImage(), await someImage(), await someImage()];
    for (const image of images) {
      await push(repository, tagged("latest"), image);
      await collect();
    }
    for (const image of images) await expectWhole(repository, image);
    await push(repository, tagged("latest"), images[0]!);
    await collect();
    for (const image of images) await expectWhole(repository, image);
    const [, second, third] = images.map(({ manifest }) => manifest.descriptor.digest);
    expect(new Set(await namesOf(repository))).toEqual(new Set([":latest", `@${second}`, `@${third}`]));
  });

  it("keeps the images of an index whose tag moved, was deleted, and those of an index that was deleted itself", async () => {
    const repository = repositoryOf("indexes");
    const images = [await someImage(), await someImage(), await someImage()];
    const [before, after] = [
      indexOf([images[0]!.manifest.descriptor]),
      indexOf(images.slice(1).map(({ manifest }) => manifest.descriptor)),
    ];
    for (const image of images) await push(repository, byDigest(image.manifest), image);
    await collect();
    for (const index of [before, after]) {
      await pushIndex(repository, tagged("all"), index);
      await collect();
    }
    for (const image of images) await expectWhole(repository, image);
    expect(await isThere(repository, before.descriptor)).toBe(true);

    expect((await ask("DELETE", repository, "manifests/all")).status).toBe(202);
    await collect();
    for (const image of images) await expectWhole(repository, image);
    expect(await isThere(repository, after.descriptor)).toBe(true);

    expect((await ask("DELETE", repository, `manifests/${after.descriptor.digest}`)).status).toBe(202);
    await collect();
    expect(await isThere(repository, after.descriptor)).toBe(false);
    for (const image of images) await expectWhole(repository, image);
  });

  it("lets go of what was deleted, and of nothing that another repository has", async () => {
    const [mine, theirs] = [repositoryOf("mine"), repositoryOf("theirs")];
    const image = await someImage();
    for (const repository of [mine, theirs]) await push(repository, tagged("v1"), image);
    const { digest } = image.manifest.descriptor;
    expect((await ask("DELETE", mine, `manifests/${digest}`)).status).toBe(202);
    await collect();
    for (const reference of ["v1", digest]) expect((await ask("GET", mine, `manifests/${reference}`)).status).toBe(404);
    await expectWhole(theirs, image);
    const layer = image.layers[0]!.descriptor.digest;
    expect((await ask("DELETE", mine, `blobs/${layer}`)).status).toBe(202);
    expect((await ask("GET", mine, `blobs/${layer}`)).status).toBe(404);
    const again = await put(mine, "v1", image.manifest);
    expect([again.status, await again.json()]).toMatchObject([404, { errors: [{ code: "MANIFEST_BLOB_UNKNOWN" }] }]);

    expect((await ask("DELETE", theirs, `manifests/${digest}`)).status).toBe(202);
    await collect();
    expect((await org.scratch.ns.images.list({}, { signal })).images.filter(({ target }) => target?.digest === digest)).toEqual([]);
    await expect(org.scratch.ns.content.info({ digest }, { signal })).rejects.toThrow(/NOT_FOUND/);
    await push(mine, tagged("v1"), image);
    await collect();
    await expectWhole(mine, image);
  });

  it("keeps a referrer that was pushed by its digest, lists it whether or not its subject is there, and forgets a deleted one", async () => {
    const repository = repositoryOf("referrers");
    const image = await someImage();
    await pushBlobs(org.client, repository, image);
    const subject = image.manifest.descriptor;
    const signature = manifestOf(image.config, [], { subject, artifactType: "application/x-signature" });
    const pushed = await put(repository, signature.descriptor.digest, signature);
    expect([pushed.status, pushed.headers.get("oci-subject")]).toEqual([201, subject.digest]);
    await collect();
    const listed = async (query = "") => {
      const answer = await ask("GET", repository, `referrers/${subject.digest}${query}`);
      return ((await answer.json()) as { manifests: Descriptor[] }).manifests;
    };
    expect(await isThere(repository, subject)).toBe(false);
    expect(await listed()).toEqual([{ ...signature.descriptor, artifactType: "application/x-signature" }]);
    await push(repository, tagged("v1"), image);
    await collect();
    expect(await listed("?artifactType=application/x-signature")).toHaveLength(1);
    expect(await listed("?artifactType=application/x-sbom")).toEqual([]);
    expect((await ask("DELETE", repository, `manifests/${signature.descriptor.digest}`)).status).toBe(202);
    expect(await listed()).toEqual([]);
  });

  it("gives one manifest many tags at once, in a page of tags that come in ASCII order", async () => {
    const repository = repositoryOf("tags");
    const image = await someImage();
    await pushBlobs(org.client, repository, image);
    const query = ["b", "a", "Z", "10"].map((tag) => `tag=${tag}`).join("&");
    const pushed = await put(repository, `${image.manifest.descriptor.digest}?${query}`, image.manifest);
    expect([pushed.status, pushed.headers.get("oci-tag")]).toEqual([201, "b, a, Z, 10"]);
    await collect();
    expect(await org.client.listTags(repository, signal)).toEqual(["10", "Z", "a", "b"]);
    const page = await ask("GET", repository, "tags/list?n=2&last=10");
    expect(await page.json()).toMatchObject({ tags: ["Z", "a"] });
    expect(page.headers.get("link")).toContain("last=a");
    expect(await namesOf(repository)).toHaveLength(4);
  });

  it("lets one of many pushes at a time take a free tag, and one replace what all of them have seen", async () => {
    const repository = repositoryOf("races");
    const images = await Promise.all(Array.from({ length: 6 }, someImage));
    await Promise.all(images.map((image) => pushBlobs(org.client, repository, image)));
    const race = async (headers: Record<string, string>) => {
      const answers = await Promise.all(images.map(({ manifest }) => put(repository, "latest", manifest, headers)));
      return answers.map(({ status }) => status).toSorted((a, b) => a - b);
    };
    expect(await race({ "if-none-match": "*" })).toEqual([201, 412, 412, 412, 412, 412]);
    const first = (await org.client.resolveManifest(repository, tagged("latest"), signal))!.digest;
    const others = images.filter(({ manifest }) => manifest.descriptor.digest !== first);
    const replaced = await Promise.all(others.map(({ manifest }) => put(repository, "latest", manifest, { "if-match": `"${first}"` })));
    expect(replaced.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 412, 412, 412, 412]);
    await collect();
    const winner = (await org.client.resolveManifest(repository, tagged("latest"), signal))!.digest;
    expect(winner).not.toBe(first);
    for (const image of images) if ([first, winner].includes(image.manifest.descriptor.digest)) await expectWhole(repository, image);
  });

  it("answers 404 to a reader who is slower than the collector", async () => {
    const repository = repositoryOf("slow");
    const image = await someImage();
    await push(repository, tagged("v1"), image);
    const { digest } = image.manifest.descriptor;
    const layer = image.layers[0]!.descriptor.digest;
    const statuses = new Set<number>();
    let isOver = false;
    const readers = [`manifests/v1`, `manifests/${digest}`, `blobs/${layer}`].map(async (path) => {
      while (!isOver) {
        const answer = await ask("GET", repository, path);
        await answer.arrayBuffer();
        statuses.add(answer.status);
      }
    });
    try {
      for (let round = 0; round < 4; round += 1) {
        await org.scratch.ns.images.delete({ name: `${imageHost}/${repository}:v1` }, { signal });
        await collect();
        await push(repository, tagged("v1"), image);
      }
    } finally {
      isOver = true;
      await Promise.all(readers);
    }
    for (const status of statuses) expect([200, 404]).toContain(status);
  });
});
