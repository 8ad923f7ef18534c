import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { listLeases } from "../../../containerd/leases.ts";
import { pushUpstream } from "../../../mirror/replicate/replicate.ts";
import { type UnfinishedUploads, createUnfinishedUploads } from "../../../mirror/replicate/unfinished-uploads.ts";
import { createUpstreamStore } from "../../../mirror/pull/upstream.ts";
import { digestOf } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { openHttpServer } from "../../support/http-server.ts";
import {
  type MirrorHarness,
  type MirroredOrg,
  openMirrorHarness,
  orgName,
  pushBlobs,
  pushImage,
  sourceOf,
} from "../../support/mirror-harness.ts";
import { startContainerd } from "../../support/own-containerd.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import { blobOf, imageOf, indexOf, manifestOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const someImage = () => imageOf([{ a: randomUUID() }, { b: randomUUID() }]);
const tag = (text: string) => ({ kind: "tag", tag: text as never }) as const;

describe("the mirror in front of a registry", () => {
  const stack = new AsyncDisposableStack();
  const name = orgName("front");
  let upstream: MirrorHarness;
  let above: MirroredOrg;
  let copies: MirroredOrg;
  let mirror: MirrorHarness;
  let org: MirroredOrg;
  let uploads: UnfinishedUploads;

  // a registry is a registry: what stands upstream here is a mirror over a containerd of its own
  beforeAll(async () => {
    const daemon = stack.use(await startContainerd());
    upstream = stack.use(await openMirrorHarness({ containerdSocket: daemon.socket, upstreamUrl: "none" }));
    above = await upstream.org(name);
    mirror = stack.use(await openMirrorHarness({ upstreamUrl: above.baseUrl }));
    org = await mirror.org(name);
    copies = await upstream.org("docker.test");
    const dir = await makeOwnedDir();
    stack.defer(() => removeOwnedDir(dir));
    uploads = createUnfinishedUploads(dir);
  });
  afterAll(() => stack.disposeAsync());

  it("serves a source that only upstream has, as BuildKit asks for it: an entity tag and no date", async () => {
    const bytes = randomBytes(3 * 1024 * 1024);
    const repository = org.repository("source");
    await above.client.pushBlob(repository, sourceOf(bytes, digestOf(bytes)), signal);
    const url = `${org.baseUrl}/v2/${repository}/blobs/${digestOf(bytes)}`;
    const answer = await fetch(url);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("etag")).toBe(`"${digestOf(bytes)}"`);
    expect(answer.headers.get("last-modified")).toBeNull();
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
    const cached = await fetch(url, { headers: { "if-none-match": `"${digestOf(bytes)}"` } });
    expect(cached.status).toBe(304);
    const part = await fetch(url, { headers: { range: "bytes=10-19" } });
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(10, 20))).toBe(true);
  });

  it("serves an image that only upstream has, by tag and by digest", async () => {
    const image = await someImage();
    const repository = org.repository("above");
    await pushImage(above.client, repository, "v1", image);
    expect((await org.client.resolveManifest(repository, tag("v1"), signal))?.digest).toBe(image.manifest.descriptor.digest);
    const { digest } = image.manifest.descriptor;
    expect((await org.client.readManifest(repository, { kind: "digest", digest }, signal))?.descriptor).toEqual(image.manifest.descriptor);
  });

  it("tells a pusher about this host alone, so that it sends what the manifest needs here", async () => {
    const image = await someImage();
    const repository = org.repository("both");
    await pushImage(above.client, repository, "v1", image);
    expect(await org.client.statBlob(repository, image.layers[0]!.descriptor.digest, signal)).toBeUndefined();
    expect(await pushImage(org.client, repository, "v1", image)).toBe(3);
    expect((await mirror.images.verify({ org: name, repository, tag: "v1" }, signal)).digest).toBe(image.manifest.descriptor.digest);
  });

  it("says absent when both lack it", async () => {
    expect(await org.client.readBlob(org.repository("source"), digestOf("absent"), undefined, signal)).toBeUndefined();
    expect(await org.client.resolveManifest(org.repository("source"), tag("absent"), signal)).toBeUndefined();
  });

  it("asks upstream for nothing outside the org's repositories", async () => {
    const other = await upstream.org(orgName("other"));
    const bytes = Buffer.from("another org's");
    await other.client.pushBlob(other.repository("app"), sourceOf(bytes, digestOf(bytes)), signal);
    const disguised = await fetch(`${org.baseUrl}/v2/app/blobs/${digestOf(bytes)}?ns=${other.name}`);
    expect(disguised.status).toBe(404);
    expect(await org.client.readBlob(other.repository("app"), digestOf(bytes), undefined, signal)).toBeUndefined();
  });

  it("takes pushes while upstream is down, and says unavailable for what it cannot know", async () => {
    await using alone = await openMirrorHarness();
    const down = await alone.org(orgName("down"));
    const repository = down.repository("app");
    const image = await someImage();
    expect(await down.client.resolveManifest(repository, tag("v1"), signal)).toBeUndefined();
    await pushImage(down.client, repository, "v1", image);
    expect((await alone.images.verify({ org: down.name, repository, tag: "v1" }, signal)).digest).toBe(image.manifest.descriptor.digest);
    expect((await fetch(`${down.baseUrl}/v2/${repository}/blobs/${digestOf("unknown")}`)).status).toBe(503);
  });

  it("breaks the connection, or answers an error, when upstream sends other bytes than the digest names", async () => {
    const bytes = Buffer.alloc(512 * 1024, "x");
    await using liar = await openHttpServer(
      (_request, response) => void response.writeHead(200, { "content-length": bytes.length }).end(bytes),
    );
    await using mistaken = await openMirrorHarness({ upstreamUrl: liar.url });
    const trusting = await mistaken.org(orgName("trusting"));
    const answer = await fetch(`${trusting.baseUrl}/v2/${trusting.repository("app")}/blobs/${digestOf("something else")}`);
    const isWhole = answer.arrayBuffer().then(
      () => answer.ok,
      () => false,
    );
    expect(await isWhole).toBe(false);
  });

  it("pulls on behalf of another registry from upstream's copies first, then from that registry itself", async () => {
    const library = copies.repository("library/debian");
    const [image, elsewhere] = [await someImage(), await someImage()];
    await pushImage(copies.client, library, "bookworm-slim", image);
    await using publicOne = await openMirrorHarness({ upstreamUrl: "none" });
    const hub = await publicOne.org("library");
    await pushImage(hub.client, hub.repository("node"), "24", elsewhere);
    const asked: string[] = [];
    await using both = await openMirrorHarness({
      upstreamUrl: copies.baseUrl,
      publicRegistry: (host) => {
        asked.push(host);
        return host === "docker.test" || host === "hub.test" ? createUpstreamStore(hub.client, { downMs: 50 }) : undefined;
      },
    });
    const reader = await both.org(orgName("reader"));
    const ns = createDistributionClient({ baseUrl: reader.baseUrl, ns: "docker.test" });
    const found = await ns.readManifest(parseRepository("library/debian"), tag("bookworm-slim"), signal);
    expect(found?.descriptor).toEqual(image.manifest.descriptor);
    const layer = image.layers[0]!;
    const content = await ns.readBlob(parseRepository("library/debian"), layer.descriptor.digest, undefined, signal);
    expect(Buffer.concat(await content!.body.toArray()).equals(layer.bytes)).toBe(true);
    expect((await ns.resolveManifest(parseRepository("library/node"), tag("24"), signal))?.digest).toBe(
      elsewhere.manifest.descriptor.digest,
    );
    const raw = await fetch(`${reader.baseUrl}/v2/library/debian/manifests/bookworm-slim?ns=docker.test`, { method: "HEAD" });
    expect(raw.headers.get("oci-namespace")).toBe("docker.test");
    const refused = await fetch(`${reader.baseUrl}/v2/library/debian/manifests/absent?ns=127.0.0.1:${both.port}`);
    expect(refused.status).toBe(404);
    expect(asked).toContain("docker.test");
    const push = await fetch(`${reader.baseUrl}/v2/library/debian/blobs/uploads/?ns=docker.test`, { method: "POST" });
    expect(push.status).toBe(405);
  });

  it("replicates an image: only what is missing, the manifest last, read back", async () => {
    const image = await someImage();
    const repository = org.repository("replicated");
    await pushImage(org.client, repository, "v1", image);
    await above.client.pushBlob(repository, sourceOf(image.layers[0]!.bytes, image.layers[0]!.descriptor.digest), signal);
    const { digest } = image.manifest.descriptor;
    await mirror.images.pin(name, repository, digest, signal);
    expect(await mirror.images.list(name, signal)).toContainEqual(expect.objectContaining({ repository, tag: "v1", digest, pinned: true }));
    const seen: number[] = [];
    const options = {
      containerd: org.scratch.containerd,
      client: above.client,
      uploads,
      signal,
      onProgress: ({ sentBytes }: { sentBytes: number }) => void seen.push(sentBytes),
    };
    const first = await pushUpstream({ org: name, repository, digest, tag: "v1" as never }, options);
    const expected = image.layers[1]!.bytes.length + image.config.bytes.length + image.manifest.bytes.length;
    const skippedBytes = image.layers[0]!.bytes.length;
    expect(first).toEqual({ sentBytes: expected, skippedBytes, totalBytes: expected + skippedBytes });
    expect(seen.at(-1)).toBe(expected);
    const second = await pushUpstream({ org: name, repository, digest, tag: "v1" as never }, options);
    expect(second.sentBytes).toBe(image.manifest.bytes.length);
    expect((await upstream.images.verify({ org: name, repository, tag: "v1" }, signal)).digest).toBe(digest);
    await mirror.images.unpin(name, repository, digest, signal);
    await mirror.images.unpin(name, repository, digest, signal);
    expect(await mirror.images.list(name, signal)).toContainEqual(expect.objectContaining({ tag: "v1", digest, pinned: false }));
  });

  it("replicates an index with everything it names", async () => {
    const image = await someImage();
    const repository = org.repository("index");
    const note = blobOf(randomUUID(), "text/plain");
    const empty = blobOf("{}", mediaTypes.emptyJson);
    const artifact = manifestOf(empty, [note]);
    const index = indexOf([image.manifest.descriptor, artifact.descriptor]);
    await pushBlobs(org.client, repository, image);
    for (const { bytes, descriptor } of [note, empty]) await org.client.pushBlob(repository, sourceOf(bytes, descriptor.digest), signal);
    for (const { bytes, descriptor } of [image.manifest, artifact]) {
      await org.client.pushManifest(repository, { kind: "digest", digest: descriptor.digest }, descriptor.mediaType, bytes, signal);
    }
    await org.client.pushManifest(repository, tag("v1"), mediaTypes.imageIndex, index.bytes, signal);
    const options = { containerd: org.scratch.containerd, client: above.client, uploads, signal };
    await pushUpstream({ org: name, repository, digest: index.descriptor.digest, tag: "v1" as never }, options);
    expect((await above.client.readManifest(repository, tag("v1"), signal))?.descriptor).toEqual(index.descriptor);
    expect(await above.client.statBlob(repository, note.descriptor.digest, signal)).toBeDefined();
  });

  it("keeps a pinned image whose record is gone, and does not pin what is absent", async () => {
    const image = await someImage();
    const repository = org.repository("pinned");
    await pushImage(org.client, repository, "v1", image);
    const { digest } = image.manifest.descriptor;
    await mirror.images.pin(name, repository, digest, signal);
    await mirror.images.pin(name, repository, digest, signal);
    for (const record of await mirror.images.list(name, signal)) {
      if (record.repository === repository) await org.scratch.ns.images.delete({ name: record.name, sync: true }, { signal });
    }
    const options = { containerd: org.scratch.containerd, client: above.client, uploads, signal };
    await pushUpstream({ org: name, repository, digest, tag: "v1" as never }, options);
    await mirror.images.unpin(name, repository, digest, signal);
    await org.scratch.collect();
    await expect(pushUpstream({ org: name, repository, digest, tag: "v1" as never }, options)).rejects.toMatchObject({
      code: "CONTENT_MISSING",
    });
    await expect(mirror.images.pin(name, repository, digest, signal)).rejects.toMatchObject({ code: "CONTENT_MISSING" });
    expect((await listLeases(org.scratch.ns, signal)).filter(({ id }) => id.includes(digest))).toEqual([]);
  });

  it("verifies by what containerd holds, and says what is missing", async () => {
    const image = await someImage();
    const repository = org.repository("verified");
    const verify = (exporterDigest?: typeof image.manifest.descriptor.digest) =>
      mirror.images.verify({ org: name, repository, tag: "v1", ...(exporterDigest === undefined ? {} : { exporterDigest }) }, signal);
    await expect(verify()).rejects.toMatchObject({ code: "IMAGE_RECORD_MISSING" });
    await pushImage(org.client, repository, "v1", image);
    const total = [image.manifest, image.config, ...image.layers].reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(await verify(image.manifest.descriptor.digest)).toEqual({ digest: image.manifest.descriptor.digest, sizeBytes: total });
    await expect(verify(digestOf("what the builder says"))).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
    await org.scratch.ns.content.delete({ digest: image.layers[1]!.descriptor.digest }, { signal });
    await expect(verify()).rejects.toMatchObject({ code: "CONTENT_MISSING" });
  });
});
