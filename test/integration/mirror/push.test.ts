import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { statBlob } from "../../../containerd/content.ts";
import { getImage } from "../../../containerd/images.ts";
import { deleteLease, listLeases } from "../../../containerd/leases.ts";
import { statSnapshot } from "../../../containerd/snapshots.ts";
import { chainIds } from "../../../containerd/chain-id.ts";
import { digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import {
  type MirrorHarness,
  type MirroredOrg,
  imageHost,
  openMirrorHarness,
  orgName,
  pushBlobs,
  pushImage,
  sourceOf,
} from "../../support/mirror-harness.ts";
import { isOldContainerd } from "../../support/containerd-release.ts";
import { blobOf, imageOf, indexOf, manifestOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const someImage = (layers = 2) => imageOf(Array.from({ length: layers }, (_, i) => ({ [`file-${i}`]: randomUUID() })));

describe("pushing to the mirror", () => {
  let mirror: MirrorHarness;
  let org: MirroredOrg;
  beforeAll(async () => {
    mirror = await openMirrorHarness({ brokenIdleMs: 100 });
    org = await mirror.org(orgName("push"));
  });
  afterAll(() => mirror[Symbol.asyncDispose]());

  const pushLeases = async (app: string) => {
    const leases = await listLeases(org.scratch.ns, signal);
    return leases.filter(({ id, labels }) => id.startsWith("push/") && labels["slipway.repository"] === org.repository(app));
  };
  const ingests = async () => (await org.scratch.ns.content.listStatuses({}, { signal })).statuses.map(({ ref }) => ref);

  it("makes an image that can be started the moment the push ends, and survives the collector without a lease", async () => {
    const image = await someImage(3);
    expect(await pushImage(org.client, org.repository("ready"), "v1", image)).toBe(4);

    const top = chainIds(image.diffIds).at(-1)!;
    expect((await statSnapshot(org.scratch.ns, "overlayfs", top, signal))?.committed).toBe(true);
    const record = await getImage(org.scratch.ns, `${imageHost}/${org.name}/ready:v1`, signal);
    expect(record?.target).toEqual(image.manifest.descriptor);
    expect(await pushLeases("ready")).toEqual([]);
    await org.scratch.collect();
    expect((await statSnapshot(org.scratch.ns, "overlayfs", top, signal))?.committed).toBe(true);
    const verified = await mirror.images.verify({ org: org.name, repository: org.repository("ready"), tag: "v1" }, signal);
    expect(verified.digest).toBe(image.manifest.descriptor.digest);
  });

  it("answers what was pushed byte for byte, by tag and by digest", async () => {
    const image = await someImage();
    const repository = org.repository("pulled");
    await pushImage(org.client, repository, "v1", image);
    const byTag = await org.client.readManifest(repository, { kind: "tag", tag: "v1" as never }, signal);
    expect(byTag?.descriptor).toEqual(image.manifest.descriptor);
    const byDigest = await org.client.readManifest(repository, { kind: "digest", digest: image.manifest.descriptor.digest }, signal);
    expect(Buffer.from(byDigest!.bytes).equals(image.manifest.bytes)).toBe(true);
    for (const { bytes, descriptor } of [...image.layers, image.config]) {
      const content = await org.client.readBlob(repository, descriptor.digest, undefined, signal);
      expect(Buffer.concat(await content!.body.toArray()).equals(bytes)).toBe(true);
    }
    expect(await org.client.listTags(repository, signal)).toEqual(["v1"]);
  });

  it("sends nothing a second time", async () => {
    const image = await someImage();
    await pushImage(org.client, org.repository("again"), "v1", image);
    expect(await pushImage(org.client, org.repository("again"), "v2", image)).toBe(0);
    expect(await org.client.listTags(org.repository("again"), signal)).toEqual(["v1", "v2"]);
  });

  it("protects half a push from the collector, and loses it once its lease is gone", async () => {
    const image = await someImage();
    const repository = org.repository("half");
    await pushBlobs(org.client, repository, image);
    await org.scratch.collect();
    expect(await statBlob(org.scratch.ns, image.layers[0]!.descriptor.digest, signal)).toBeDefined();

    for (const { id } of await pushLeases("half")) await deleteLease(org.scratch.ns, id, signal, true);
    expect(await statBlob(org.scratch.ns, image.layers[0]!.descriptor.digest, signal)).toBeUndefined();
    const { bytes, descriptor } = image.manifest;
    const manifest = () => org.client.pushManifest(repository, { kind: "tag", tag: "v1" as never }, descriptor.mediaType, bytes, signal);
    await expect(manifest()).rejects.toMatchObject({ status: expect.any(Number) });
    expect(await getImage(org.scratch.ns, `${imageHost}/${repository}:v1`, signal)).toBeUndefined();
    // the client begins again, and ends well
    await pushImage(org.client, repository, "v1", image);
    expect((await mirror.images.verify({ org: org.name, repository, tag: "v1" }, signal)).digest).toBe(descriptor.digest);
  });

  it("keeps a layer that a pusher was told is present, when the only image that had it goes", async () => {
    const repository = org.repository("told");
    const first = await someImage(2);
    await pushImage(org.client, repository, "v1", first);
    const second = { ...first, manifest: manifestOf(first.config, first.layers, { annotations: { second: "yes" } }) };
    expect(await pushBlobs(org.client, repository, second)).toBe(0);
    await org.scratch.ns.images.delete({ name: `${imageHost}/${repository}:v1`, sync: true }, { signal });
    await org.client.pushManifest(repository, { kind: "tag", tag: "v2" as never }, mediaTypes.imageManifest, second.manifest.bytes, signal);
    await org.scratch.collect();
    expect((await mirror.images.verify({ org: org.name, repository, tag: "v2" }, signal)).digest).toBe(second.manifest.descriptor.digest);
  });

  it("answers a path that cannot be decoded as the spec has it", async () => {
    const answer = await fetch(`${org.baseUrl}/v2/${org.repository("bad")}/blobs/sha256%zz`);
    expect([answer.status, await answer.json()]).toMatchObject([400, { errors: [{ code: "DIGEST_INVALID" }] }]);
  });

  it("refuses a blob of another digest with 400 and leaves no ingest", async () => {
    const repository = org.repository("wrong");
    const wrong = sourceOf(Buffer.from("these bytes"), digestOf("other bytes"));
    await expect(org.client.pushBlob(repository, wrong, signal)).rejects.toMatchObject({ status: 400, code: "DIGEST_INVALID" });
    const large = sourceOf(randomBytes(6 * 1024 * 1024), digestOf("something else"));
    await expect(org.client.pushBlob(repository, large, signal)).rejects.toMatchObject({ status: 400, code: "DIGEST_INVALID" });
    expect(await ingests()).toEqual([]);
    expect(await org.client.statBlob(repository, digestOf("other bytes"), signal)).toBeUndefined();
  });

  it.skipIf(isOldContainerd(inject("containerdRelease")))(
    "takes blobs of sha512 digests, and compares those that are there already",
    async () => {
      const uploads = `${org.baseUrl}/v2/${org.repository("sha512")}/blobs/uploads/`;
      const bytes = randomBytes(400_000);
      const digest = digestOf(bytes, "sha512");
      const push = async (content: Buffer, announced: string) => {
        const started = await fetch(`${uploads}${announced}`, { method: "POST" });
        const location = new URL(started.headers.get("location")!, uploads);
        await fetch(location, { method: "PATCH", body: content });
        location.searchParams.set("digest", digest);
        const ended = await fetch(location, { method: "PUT" });
        return { status: ended.status, digest: ended.headers.get("docker-content-digest") };
      };
      for (const announced of ["", "?digest-algorithm=sha512", "?digest-algorithm=sha256"]) {
        expect(await push(bytes, announced)).toEqual({ status: 201, digest });
        expect((await push(randomBytes(400_000), announced)).status).toBe(400);
      }
      const read = await fetch(`${org.baseUrl}/v2/${org.repository("sha512")}/blobs/${digest}`);
      expect(Buffer.from(await read.arrayBuffer()).equals(bytes)).toBe(true);
      expect(await ingests()).toEqual([]);
    },
  );

  it("leaves no ingest when the client goes away in the middle of a blob", async () => {
    const start = await fetch(`${org.baseUrl}/v2/${org.repository("gone")}/blobs/uploads/`, { method: "POST" });
    const location = new URL(start.headers.get("location")!, org.baseUrl);
    const gone = new AbortController();
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        controller.enqueue(randomBytes(1024 * 1024));
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
    });
    const sending = fetch(location, { method: "PATCH", body, duplex: "half", signal: gone.signal } as RequestInit);
    await expect.poll(async () => (await ingests()).length, { timeout: 30_000 }).toBe(1);
    gone.abort();
    await expect(sending).rejects.toThrow();
    await expect.poll(ingests, { timeout: 30_000 }).toEqual([]);
  });

  it("takes a large blob in pieces", async () => {
    const bytes = randomBytes(3 * 1024 * 1024);
    const uploads = `${org.baseUrl}/v2/${org.repository("pieces")}/blobs/uploads/`;
    let location = new URL((await fetch(uploads, { method: "POST" })).headers.get("location")!, uploads);
    for (let start = 0; start < bytes.length; start += 1024 * 1024) {
      const part = bytes.subarray(start, start + 1024 * 1024);
      const answer = await fetch(location, {
        method: "PATCH",
        body: part,
        headers: { "content-range": `${start}-${start + part.length - 1}` },
      });
      expect(answer.status).toBe(202);
      location = new URL(answer.headers.get("location")!, uploads);
    }
    const outOfOrder = await fetch(location, { method: "PATCH", body: "x", headers: { "content-range": "0-0" } });
    expect(outOfOrder.status).toBe(416);
    location.searchParams.set("digest", digestOf(bytes));
    expect((await fetch(location, { method: "PUT" })).status).toBe(201);
    const content = await org.client.readBlob(org.repository("pieces"), digestOf(bytes), { first: 5, last: 1_999_999 }, signal);
    expect(Buffer.concat(await content!.body.toArray()).equals(bytes.subarray(5, 2_000_000))).toBe(true);
  });

  it("refuses a manifest that names what is not in its repository, though another has it", async () => {
    const image = await someImage();
    await pushImage(org.client, org.repository("owner"), "v1", image);
    const { bytes, descriptor } = image.manifest;
    const thief = org.repository("thief");
    expect(await org.client.statBlob(thief, image.config.descriptor.digest, signal)).toBeUndefined();
    expect(await org.client.readBlob(thief, image.config.descriptor.digest, undefined, signal).catch(() => undefined)).toBeUndefined();
    const push = org.client.pushManifest(thief, { kind: "tag", tag: "v1" as never }, descriptor.mediaType, bytes, signal);
    await expect(push).rejects.toMatchObject({ status: 404, code: "MANIFEST_BLOB_UNKNOWN" });
  });

  it("mounts from another repository of the same org", async () => {
    const image = await someImage();
    await pushImage(org.client, org.repository("source"), "v1", image);
    const target = org.repository("target");
    for (const { descriptor } of [...image.layers, image.config]) {
      expect(await org.client.mountBlob(target, descriptor.digest, org.repository("source"), signal)).toBe(true);
    }
    expect(await org.client.mountBlob(target, digestOf("nothing"), org.repository("source"), signal)).toBe(false);
    expect(await pushImage(org.client, target, "v1", image)).toBe(0);
  });

  it("lets no org read, name, mount or claim what is another's", async () => {
    const image = await someImage();
    await pushImage(org.client, org.repository("secret"), "v1", image);
    const stranger = await mirror.org(orgName("stranger"));
    const { digest } = image.layers[0]!.descriptor;
    const direct = await fetch(`${stranger.baseUrl}/v2/${org.repository("secret")}/blobs/${digest}`);
    expect(direct.status).toBe(404);
    expect(await direct.json()).toMatchObject({ errors: [{ code: "NAME_UNKNOWN" }] });
    const mine = stranger.repository("app");
    expect(await stranger.client.statBlob(mine, digest, signal)).toBeUndefined();
    expect(await stranger.client.mountBlob(mine, digest, org.repository("secret"), signal)).toBe(false);
    await expect(stranger.client.pushBlob(mine, sourceOf(Buffer.alloc(0), digest), signal)).rejects.toMatchObject({
      code: "DIGEST_INVALID",
    });
    const start = await fetch(`${org.baseUrl}/v2/${org.repository("secret")}/blobs/uploads/`, { method: "POST" });
    const theirs = new URL(start.headers.get("location")!, org.baseUrl).pathname.replace(org.repository("secret"), mine);
    expect((await fetch(`${stranger.baseUrl}${theirs}`, { method: "PATCH", body: "x" })).status).toBe(404);
    expect((await fetch(new URL(start.headers.get("location")!, org.baseUrl), { method: "DELETE" })).status).toBe(204);
  });

  it("stores an index with its attestation, unpacks this host's platform and keeps no record of the children", async () => {
    const image = await someImage();
    const repository = org.repository("index");
    const statement = blobOf(JSON.stringify({ predicate: randomUUID() }), "application/vnd.in-toto+json");
    const attestationConfig = blobOf(
      JSON.stringify({ architecture: "unknown", os: "unknown", rootfs: { type: "layers", diff_ids: [statement.descriptor.digest] } }),
      mediaTypes.imageConfig,
    );
    const attestation = manifestOf(attestationConfig, [statement]);
    const architecture = process.arch === "arm64" ? "arm64" : "amd64";
    const index = indexOf([
      { ...attestation.descriptor, platform: { architecture: "unknown", os: "unknown" } },
      { ...image.manifest.descriptor, platform: { architecture, os: "linux" } },
    ]);
    await pushBlobs(org.client, repository, image);
    for (const { bytes, descriptor } of [statement, attestationConfig])
      await org.client.pushBlob(repository, sourceOf(bytes, descriptor.digest), signal);
    for (const { bytes, descriptor } of [image.manifest, attestation]) {
      await org.client.pushManifest(repository, { kind: "digest", digest: descriptor.digest }, descriptor.mediaType, bytes, signal);
    }
    await org.client.pushManifest(repository, { kind: "tag", tag: "v1" as never }, mediaTypes.imageIndex, index.bytes, signal);

    expect(await pushLeases("index")).toEqual([]);
    await org.scratch.collect();
    const verified = await mirror.images.verify({ org: org.name, repository, tag: "v1", exporterDigest: index.descriptor.digest }, signal);
    expect(verified.digest).toBe(index.descriptor.digest);
    expect(
      (await org.client.readManifest(repository, { kind: "digest", digest: attestation.descriptor.digest }, signal))?.bytes,
    ).toBeDefined();
    const names = (await org.scratch.ns.images.list({}, { signal })).images
      .map(({ name }) => name)
      .filter((name) => name.includes("/index"));
    expect(names).toEqual([`${imageHost}/${repository}:v1`]);
  });

  it("lets the lease go when an index names an image that was here before", async () => {
    const image = await someImage();
    const repository = org.repository("wrapped");
    await pushImage(org.client, repository, "v1", image);
    expect(await pushBlobs(org.client, repository, image)).toBe(0);
    const { descriptor } = image.manifest;
    expect(await org.client.resolveManifest(repository, { kind: "digest", digest: descriptor.digest }, signal)).toBeDefined();
    const index = indexOf([descriptor]);
    await org.client.pushManifest(repository, { kind: "tag", tag: "v2" as never }, mediaTypes.imageIndex, index.bytes, signal);
    expect(await pushLeases("wrapped")).toEqual([]);
  });

  it("keeps a manifest that was pushed by digest alone", async () => {
    const image = await someImage();
    const repository = org.repository("untagged");
    await pushBlobs(org.client, repository, image);
    const { bytes, descriptor } = image.manifest;
    await org.client.pushManifest(repository, { kind: "digest", digest: descriptor.digest }, descriptor.mediaType, bytes, signal);
    expect(await pushLeases("untagged")).toEqual([]);
    await org.scratch.collect();
    expect((await org.client.resolveManifest(repository, { kind: "digest", digest: descriptor.digest }, signal))?.size).toBe(bytes.length);
    expect(await org.client.listTags(repository, signal)).toEqual([]);
  });

  it("stores an artifact, and an image whose layers lie about themselves, but starts neither", async () => {
    const repository = org.repository("odd");
    const config = blobOf("{}", mediaTypes.emptyJson);
    const artifact = {
      ...(await someImage(0)),
      config,
      layers: [blobOf("text", "text/plain")],
      manifest: manifestOf(config, [blobOf("text", "text/plain")]),
    };
    await pushImage(org.client, repository, "artifact", artifact);
    await expect(mirror.images.verify({ org: org.name, repository, tag: "artifact" }, signal)).rejects.toMatchObject({
      code: "IMAGE_INVALID",
    });

    const honest = await someImage(2);
    const lying = await imageOf([{ a: randomUUID() }, { b: randomUUID() }], { diffIds: honest.diffIds });
    await pushImage(org.client, repository, "lying", lying);
    await expect(mirror.images.verify({ org: org.name, repository, tag: "lying" }, signal)).rejects.toMatchObject({
      code: "SNAPSHOT_MISSING",
    });
    expect(mirror.warnings.length).toBeGreaterThan(0);
    expect(await statSnapshot(org.scratch.ns, "overlayfs", honest.diffIds[0]!, signal)).toBeUndefined();
  });

  it("lets the lease of a push go that nobody continues", async () => {
    await using quick = await openMirrorHarness({ pushIdleMs: 50 });
    const idle = await quick.org(orgName("idle"));
    await pushBlobs(idle.client, idle.repository("app"), await someImage());
    await expect.poll(() => listLeases(idle.scratch.ns, signal), { timeout: 30_000 }).toEqual([]);
  });

  it("ends well for pushes of one repository at the same time", async () => {
    const images = await Promise.all(Array.from({ length: 4 }, () => someImage(3)));
    const repository = org.repository("busy");
    await Promise.all(images.map((image, index) => pushImage(org.client, repository, `v${index}`, image)));
    expect(await pushLeases("busy")).toEqual([]);
    await org.scratch.collect();
    for (const [index, image] of images.entries()) {
      const { digest } = await mirror.images.verify({ org: org.name, repository, tag: `v${index}` }, signal);
      expect(digest).toBe(image.manifest.descriptor.digest);
    }
  });
});
