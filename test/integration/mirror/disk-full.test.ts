import { randomBytes } from "node:crypto";
import { statfs } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { listBlobs } from "../../../containerd/content.ts";
import { openContainerd } from "../../../containerd/client.ts";
import { digestOf } from "../../../oci/digest.ts";
import { createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { loopbackAddress, pushBlobs, pushImage } from "../../support/mirror-harness.ts";
import { type MirrorProcess, createMirrorProcess } from "../../support/mirror-process.ts";
import { type OwnContainerd, startContainerd } from "../../support/own-containerd.ts";
import { beginUpload, bytesOf, rawRequest } from "../../support/raw-push.ts";
import { imageOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(240_000);
const mebibyte = 1024 * 1024;
const org = "crowded";
const repository = parseRepository(`${org}/web`);

describe.each([
  ["with the floor under its free space", {}],
  ["without a floor, when containerd itself finds it full", { freeBytes: 0 }],
])("a disk %s", (_title, limits) => {
  let containerd: OwnContainerd;
  let mirror: MirrorProcess;
  let baseUrl: string;

  beforeAll(async () => {
    containerd = await startContainerd({ diskBytes: 64 * mebibyte });
    const settings = (of: Settings) => ({ ...of, mirror: { ...of.mirror, limits } });
    mirror = await createMirrorProcess(containerd.socket, settings);
    await mirror.start();
    const address = loopbackAddress();
    await mirror.admin.putOrg(org, [address], signal);
    baseUrl = `http://${address}:${mirror.settings.mirror.port}`;
  });
  afterAll(async () => {
    await mirror?.[Symbol.asyncDispose]();
    await containerd?.[Symbol.asyncDispose]();
  });

  const freeBytes = async () => {
    const { bavail, bsize } = await statfs(containerd.root);
    return bavail * bsize;
  };
  const stored = async () => {
    await using daemon = openContainerd(containerd.socket);
    const ns = daemon.namespace(orgNamespace(org));
    const digests: string[] = [];
    for await (const { digest } of listBlobs(ns, [], signal)) digests.push(digest);
    const { statuses } = await ns.content.listStatuses({}, { signal });
    return { digests, ingests: statuses.map(({ ref }) => ref) };
  };

  it("refuses a push that does not fit, and gives back what that had taken; smaller ones go on, and reads", async () => {
    const client = createDistributionClient({ baseUrl });
    const first = await imageOf([{ first: "a page" }]);
    await pushImage(client, repository, "first", first);
    const before = await freeBytes();

    for (const length of [{}, { "content-length": String(100 * mebibyte) }]) {
      const url = await beginUpload(baseUrl, repository);
      const answer = await rawRequest(url, { method: "PATCH", headers: length, body: bytesOf(100 * mebibyte) });
      expect(answer).toMatchObject({ status: 503, headers: { "retry-after": "30" } });
      expect(JSON.parse(answer.body)).toMatchObject({
        errors: [{ code: "UNAVAILABLE", message: expect.stringContaining("slipway image prune") }],
      });
      await rawRequest(url, { method: "DELETE" });
      expect((await stored()).ingests).toEqual([]);
      await expect.poll(freeBytes).toBeGreaterThan(before - mebibyte);
    }

    const next = await imageOf([{ next: randomBytes(mebibyte).toString("base64") }]);
    await pushImage(client, repository, "next", next);
    for (const image of [first, next]) {
      const { digest } = image.layers[0]!.descriptor;
      const read = await rawRequest(`${baseUrl}/v2/${repository}/blobs/${digest}`, { method: "GET" });
      expect(read.status).toBe(200);
      expect((await stored()).digests).toContain(digest);
    }
  });

  it("refuses an image whose layers do not fit once they are unpacked, and gives back what they had taken", async () => {
    const client = createDistributionClient({ baseUrl });
    const before = await freeBytes();
    const bomb = await imageOf([{ zeros: "0".repeat(100 * mebibyte) }]);
    await pushBlobs(client, repository, bomb);
    const { bytes, descriptor } = bomb.manifest;
    const answer = await client.pushManifest(repository, { kind: "tag", tag: "bomb" as never }, descriptor.mediaType, bytes, signal).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(answer).toMatchObject({ status: 503, message: expect.stringContaining("too little free space") });
    await expect.poll(freeBytes, { timeout: 20_000 }).toBeGreaterThan(before - 2 * mebibyte);
    const small = await imageOf([{ small: digestOf(randomBytes(8)) }]);
    await pushImage(client, repository, "small", small);
  });
});
