import { randomBytes } from "node:crypto";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { deferred } from "../../../config/deferred.ts";
import { statBlob } from "../../../containerd/content.ts";
import { getImage, listImages } from "../../../containerd/images.ts";
import { createBuildTokens } from "../../../mirror/access/build-tokens.ts";
import { openAdmin } from "../../../mirror/admin.ts";
import { type MirrorAdmin, createMirrorAdmin } from "../../../mirror/admin-client.ts";
import type { Orgs } from "../../../mirror/orgs.ts";
import { verifyStoredImage } from "../../../mirror/images/verify-stored-image.ts";
import { lastUseOfFetched } from "../../../mirror/pull/fetched-record.ts";
import { imageNames } from "../../../mirror/store/org-repository.ts";
import type { Digest } from "../../../oci/digest.ts";
import type { Repository } from "../../../oci/repository.ts";
import { openMirrorBelow } from "../../support/mirror-below.ts";
import { type MirrorHarness, type MirroredOrg, imageHost, orgName, pushImage } from "../../support/mirror-harness.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";
import type { ScriptedProxy } from "../../support/scripted-proxy.ts";
import { type TestImage, imageOf, indexOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(300_000);
const tag = "v1" as never;

async function openAdminOf(orgs: Orgs): Promise<AsyncDisposable & { readonly admin: MirrorAdmin }> {
  const stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const socket = path.join(dir, "mirror.sock");
  stack.use(await openAdmin({ orgs, tokens: createBuildTokens(randomBytes(32)) }, socket));
  return { admin: createMirrorAdmin(socket), [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe("an image that is only upstream", () => {
  const stack = new AsyncDisposableStack();
  const name = orgName("ready");
  let above: MirroredOrg;
  let proxy: ScriptedProxy;
  let mirror: MirrorHarness;
  let org: MirroredOrg;

  beforeAll(async () => {
    ({ above, proxy, mirror, org } = stack.use(await openMirrorBelow(name, { pushIdleMs: 100 })));
  });
  afterAll(() => stack.disposeAsync());
  beforeEach(() => {
    proxy.blobs.length = 0;
    Object.assign(proxy.script, { isDown: false, lies: false, cutNextAfterBytes: undefined });
  });

  async function onlyAbove(
    app: string,
    text: string,
  ): Promise<{ readonly repository: Repository; readonly image: TestImage; readonly digest: Digest }> {
    const repository = above.repository(app);
    const image = await imageOf([{ base: text }, { middle: text }, { top: text }]);
    await pushImage(above.client, repository, "v1", image);
    return { repository, image, digest: image.manifest.descriptor.digest };
  }
  const bytesOf = ({ config, layers }: TestImage): number => [config, ...layers].reduce((sum, { bytes }) => sum + bytes.length, 0);
  const verify = (repository: Repository, digest: Digest) =>
    verifyStoredImage(org.scratch.ns, { repository, digest, snapshotter: "overlayfs" }, signal);
  const asked = (): number => new Set(proxy.blobs.map(({ path }) => path)).size;

  it("becomes ready to start from, once for two who want it, and for a third without upstream", async () => {
    const { repository, image, digest } = await onlyAbove("once", "once");
    const fetching = () => mirror.orgs.fetchImage(name, { repository, digest }, signal);
    const results = await Promise.all([fetching(), fetching()]);
    for (const result of results) expect(result).toMatchObject({ digest, fetchedBytes: bytesOf(image) });
    expect(proxy.blobs).toHaveLength(4);
    await org.scratch.collect();
    expect(await verify(repository, digest)).toMatchObject({ manifestDigest: digest, sizeBytes: results[0]!.sizeBytes });
    const record = await getImage(org.scratch.ns, imageNames.byDigest(imageHost, repository, digest), signal);
    expect(lastUseOfFetched(record?.labels ?? {})).toBeGreaterThan(0);

    proxy.script.isDown = true;
    expect(await fetching()).toEqual({ ...results[0], fetchedBytes: 0 });
  });

  it("gets the tag that the caller names, under which a deploy finds it", async () => {
    const { repository, digest } = await onlyAbove("tagged", "tagged");
    await mirror.orgs.fetchImage(name, { repository, digest, tag }, signal);
    expect(await mirror.images.verify({ org: name, repository, tag: "v1" }, signal)).toMatchObject({ digest });
  });

  it("takes from the host what another repository of the org has", async () => {
    const { image, digest, repository } = await onlyAbove("second", "shared");
    // as a whole: blobs that no manifest names are let go of soon here
    await pushImage(org.client, org.repository("first"), "v1", image);
    expect(await mirror.orgs.fetchImage(name, { repository, digest }, signal)).toMatchObject({ fetchedBytes: 0 });
    expect(proxy.blobs).toEqual([]);
    await verify(repository, digest);
  });

  it("is stored with its index when that names no other image that is missing, else alone", async () => {
    const { repository, image } = await onlyAbove("index", "index");
    const other = await imageOf([{ of: "another platform" }]);
    await pushImage(above.client, repository, "other", other);
    const platform = { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" };
    const ours = { ...image.manifest.descriptor, platform };
    const indexes = [indexOf([ours]), indexOf([{ ...other.manifest.descriptor, platform: { os: "linux", architecture: "s390x" } }, ours])];
    for (const { bytes, descriptor } of indexes) {
      await above.client.pushManifest(repository, { kind: "digest", digest: descriptor.digest }, descriptor.mediaType, bytes, signal);
    }
    const [small, large] = indexes.map(({ descriptor }) => descriptor.digest);
    expect(await mirror.orgs.fetchImage(name, { repository, digest: large!, tag }, signal)).toMatchObject({ digest: ours.digest });
    expect(await mirror.orgs.fetchImage(name, { repository, digest: small! }, signal)).toMatchObject({ digest: small, fetchedBytes: 0 });
    expect(await statBlob(org.scratch.ns, large!, signal)).toBeUndefined();
    await verify(repository, small!);
    expect(asked()).toBe(4);
  });

  it.each([
    ["sends other bytes", { lies: true }, { code: "UNAVAILABLE" }],
    ["is down", { isDown: true }, { code: "UNAVAILABLE" }],
  ])("leaves nothing behind when upstream %s", async (what, script, error) => {
    const { repository, image, digest } = await onlyAbove(`broken-${Object.keys(script)[0]!.toLowerCase()}`, what);
    Object.assign(proxy.script, script);
    await expect(mirror.orgs.fetchImage(name, { repository, digest }, signal)).rejects.toMatchObject(error);
    const records = await listImages(org.scratch.ns, [imageNames.filterOf(imageHost, repository)], signal);
    expect(records).toEqual([]);
    await expect
      .poll(
        async () => {
          await org.scratch.collect();
          const parts = [image.manifest, image.config, ...image.layers];
          return (await Promise.all(parts.map(({ descriptor }) => statBlob(org.scratch.ns, descriptor.digest, signal)))).filter(Boolean);
        },
        { timeout: 30_000 },
      )
      .toEqual([]);
    expect((await org.scratch.ns.content.listStatuses({}, { signal })).statuses).toEqual([]);
  });

  it("says that nobody has it, and whose it is not", async () => {
    const { repository } = await onlyAbove("unknown", "unknown");
    const absent = (await imageOf([{ never: "pushed" }])).manifest.descriptor.digest;
    await expect(mirror.orgs.fetchImage(name, { repository, digest: absent }, signal)).rejects.toMatchObject({ code: "MANIFEST_UNKNOWN" });
    const foreign = "other/web" as Repository;
    await expect(mirror.orgs.fetchImage(name, { repository: foreign, digest: absent }, signal)).rejects.toMatchObject({
      code: "NAME_UNKNOWN",
    });
  });

  it("is fetched over the admin socket, which says by its status what is wrong", async () => {
    await using opened = await openAdminOf(mirror.orgs);
    const { admin } = opened;
    const { repository, digest } = await onlyAbove("socket", "socket");

    proxy.script.isDown = true;
    await expect(admin.fetchImage(name, { repository, digest }, signal)).rejects.toMatchObject({
      status: 503,
      message: expect.stringContaining("UNAVAILABLE"),
    });
    proxy.script.isDown = false;
    const absent = (await imageOf([{ never: "pushed" }])).manifest.descriptor.digest;
    await expect(admin.fetchImage(name, { repository, digest: absent }, signal)).rejects.toMatchObject({ status: 404 });
    await expect(admin.fetchImage("other", { repository, digest }, signal)).rejects.toMatchObject({ status: 404 });
    await expect(admin.fetchImage(name, { repository, digest: "latest" as Digest }, signal)).rejects.toMatchObject({ status: 400 });

    expect(await admin.fetchImage(name, { repository, digest }, signal)).toMatchObject({ digest });
    await verify(repository, digest);
  });

  it("is wanted over the admin socket for as long as the caller's connection stands", async () => {
    const [started, ended] = [deferred<void>(), deferred<void>()];
    const fetchImage: Orgs["fetchImage"] = async (_org, _wanted, wantedSignal) => {
      wantedSignal.addEventListener("abort", () => ended.resolve(), { once: true });
      started.resolve();
      await ended.promise;
      throw wantedSignal.reason;
    };
    await using opened = await openAdminOf({ ...mirror.orgs, fetchImage });
    const leaving = new AbortController();
    const { repository, digest } = await onlyAbove("leaving", "leaving");
    const call = opened.admin.fetchImage(name, { repository, digest }, leaving.signal);
    await started.promise;
    leaving.abort(new Error("gone"));
    await expect(call).rejects.toThrow("gone");
    await ended.promise;
  });

  it("is not fetched on when everyone who wanted it is gone", async () => {
    const { repository, digest } = await onlyAbove("gone", "gone");
    const leaving = new AbortController();
    const fetching = mirror.orgs.fetchImage(name, { repository, digest }, leaving.signal);
    leaving.abort(new Error("gone"));
    await expect(fetching).rejects.toThrow("gone");
    await org.scratch.collect();
    expect(await statBlob(org.scratch.ns, digest, signal)).toBeUndefined();
    await mirror.orgs.fetchImage(name, { repository, digest }, signal);
    await verify(repository, digest);
  });
});
