import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { statBlob } from "../../../containerd/content.ts";
import { listLeases } from "../../../containerd/leases.ts";
import { getImage } from "../../../containerd/images.ts";
import { lastUseOfFetched } from "../../../mirror/pull/fetched-record.ts";
import { imageNames } from "../../../mirror/store/org-repository.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import type { Repository } from "../../../oci/repository.ts";
import { openMirrorBelow } from "../../support/mirror-below.ts";
import { type MirroredOrg, imageHost, orgName, pushImage, sourceOf } from "../../support/mirror-harness.ts";
import type { ScriptedProxy } from "../../support/scripted-proxy.ts";
import { imageOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const tag = (text: string) => ({ kind: "tag", tag: text as never }) as const;

describe("what the mirror fetches from upstream", () => {
  const stack = new AsyncDisposableStack();
  const name = orgName("fetches");
  let above: MirroredOrg;
  let proxy: ScriptedProxy;
  let org: MirroredOrg;

  beforeAll(async () => {
    ({ above, proxy, org } = stack.use(await openMirrorBelow(name)));
  });
  afterAll(() => stack.disposeAsync());
  beforeEach(() => {
    proxy.blobs.length = 0;
    Object.assign(proxy.script, { isDown: false, lies: false, cutNextAfterBytes: undefined });
  });

  async function pushAbove(repository: Repository, sizeBytes: number): Promise<{ readonly bytes: Buffer; readonly digest: Digest }> {
    const bytes = randomBytes(sizeBytes);
    const digest = digestOf(bytes);
    await above.client.pushBlob(repository, sourceOf(bytes, digest), signal);
    return { bytes, digest };
  }
  async function get(repository: Repository, digest: Digest): Promise<Buffer> {
    const content = await org.client.readBlob(repository, digest, undefined, signal);
    return Buffer.concat((await content!.body.toArray()) as Buffer[]);
  }

  it("crosses once for ten who pull at once, and leaves nothing when no manifest names it, as the source of a build", async () => {
    const repository = org.repository("ten");
    const { bytes, digest } = await pushAbove(repository, 8 * 1024 * 1024);
    const bodies = await Promise.all(Array.from({ length: 10 }, () => get(repository, digest)));
    for (const body of bodies) expect(body.equals(bytes)).toBe(true);
    expect(proxy.blobs).toHaveLength(1);
    expect(await statBlob(org.scratch.ns, digest, signal)).toBeUndefined();
    expect(await listLeases(org.scratch.ns, signal)).toEqual([]);
  });

  it("is only the rest after a connection that broke off", async () => {
    const repository = org.repository("broken");
    const { bytes, digest } = await pushAbove(repository, 4 * 1024 * 1024);
    proxy.script.cutNextAfterBytes = 3 * 1024 * 1024;
    expect((await get(repository, digest)).equals(bytes)).toBe(true);
    const [first, second, ...more] = proxy.blobs.map((blob) => blob.first);
    expect(first).toBe(0);
    expect(second).toBeGreaterThan(0);
    expect(second).toBeLessThanOrEqual(3 * 1024 * 1024);
    expect(more).toEqual([]);
  });

  it("is thrown away when its bytes are wrong", async () => {
    const repository = org.repository("wrong");
    const { bytes, digest } = await pushAbove(repository, 2 * 1024 * 1024);
    proxy.script.lies = true;
    await expect(get(repository, digest)).rejects.toThrow();
    expect(await statBlob(org.scratch.ns, digest, signal)).toBeUndefined();
    proxy.script.lies = false;
    expect((await get(repository, digest)).equals(bytes)).toBe(true);
  });

  it("makes an image of this host once all of it was pulled, which stays through a collection and without upstream", async () => {
    const repository = org.repository("image");
    const image = await imageOf([{ a: "1" }, { b: "2" }]);
    const { digest } = image.manifest.descriptor;
    await pushImage(above.client, repository, "v1", image);
    expect((await org.client.readManifest(repository, tag("v1"), signal))?.descriptor.digest).toBe(digest);
    const parts = [image.config, ...image.layers];
    for (const part of parts.slice(1)) await get(repository, part.descriptor.digest);
    // a pusher that heard of the manifest would not send the config
    expect(await org.client.resolveManifest(repository, { kind: "digest", digest }, signal)).toBeUndefined();
    await get(repository, image.config.descriptor.digest);

    const record = () => getImage(org.scratch.ns, imageNames.byDigest(imageHost, repository, digest), signal);
    await expect.poll(async () => lastUseOfFetched((await record())?.labels ?? {}), { timeout: 30_000 }).toBeGreaterThan(0);
    await org.scratch.collect();
    proxy.script.isDown = true;
    for (const part of parts) expect((await get(repository, part.descriptor.digest)).equals(part.bytes)).toBe(true);
    expect((await org.client.readManifest(repository, { kind: "digest", digest }, signal))?.bytes).toEqual(image.manifest.bytes);
  });

  it("is unavailable, and not absent, while upstream cannot be asked", async () => {
    proxy.script.isDown = true;
    await expect(get(org.repository("down"), digestOf("absent"))).rejects.toMatchObject({ status: 503 });
  });
});
