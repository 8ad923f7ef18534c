import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { orgNamespace } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { deleteImage, listImages } from "../../../containerd/images.ts";
import { digestOf } from "../../../oci/digest.ts";
import { type DistributionClient, createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { loopbackAddress, orgName, pushImage, sourceOf } from "../../support/mirror-harness.ts";
import { type MirrorProcess, createMirrorProcess } from "../../support/mirror-process.ts";
import { beginUpload, bytesOf, rawRequest } from "../../support/raw-push.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";
import { imageOf } from "../../support/test-image.ts";

const signal = AbortSignal.timeout(240_000);
const mebibyte = 1024 * 1024;
const limits = { orgBytes: 8 * mebibyte, orgBytesPerSecond: 16 * mebibyte, orgUploads: 3, orgConnections: 50, clientConnections: 4 };

type Org = { readonly name: string; readonly address: string; readonly baseUrl: string; readonly client: DistributionClient };

describe("an org's limits", () => {
  let mirror: MirrorProcess;
  const scratches: ScratchNamespace[] = [];

  beforeAll(async () => {
    const settings = (of: Settings) => ({ ...of, mirror: { ...of.mirror, limits } });
    mirror = await createMirrorProcess(inject("containerdSocket"), settings);
    await mirror.start();
  });
  afterAll(async () => {
    await mirror?.[Symbol.asyncDispose]();
    for (const scratch of scratches) await scratch[Symbol.asyncDispose]();
  });

  async function openOrg(): Promise<Org & { scratch: ScratchNamespace }> {
    const name = orgName("limited");
    const scratch = await openScratchNamespace(inject("containerdSocket"), orgNamespace(name));
    scratches.push(scratch);
    const address = loopbackAddress();
    await mirror.admin.putOrg(name, [address], signal);
    const baseUrl = `http://${address}:${mirror.settings.mirror.port}`;
    return { name, address, baseUrl, client: createDistributionClient({ baseUrl }), scratch };
  }

  const refusalOf = async (pushing: Promise<unknown>): Promise<unknown> =>
    pushing.then(
      () => undefined,
      (error: unknown) => error,
    );
  const quotaRefusal = { status: 403, code: "DENIED", message: expect.stringContaining("slipway image prune") };

  it("refuse what would make it store too much: before it is sent, in the middle, and after a restart", async () => {
    const { name, baseUrl, client, scratch } = await openOrg();
    const repository = parseRepository(`${name}/web`);
    const image = await imageOf([{ page: randomBytes(1.5 * mebibyte).toString("hex") }], { compressed: false });
    await pushImage(client, repository, "v1", image);
    // the same content again is stored once, and counted once
    for (const app of ["api", "worker"]) await pushImage(client, parseRepository(`${name}/${app}`), "v1", image);
    const large = randomBytes(6 * mebibyte);
    expect(await refusalOf(client.pushBlob(repository, sourceOf(large, digestOf(large)), signal))).toMatchObject(quotaRefusal);

    const url = await beginUpload(baseUrl, repository);
    const answer = await rawRequest(url, { method: "PATCH", body: bytesOf(20 * mebibyte) });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({
      errors: [{ code: "DENIED", detail: { usedBytes: expect.any(Number), allowedBytes: limits.orgBytes } }],
    });
    expect((await scratch.ns.content.listStatuses({}, { signal })).statuses).toEqual([]);

    await mirror.stop("SIGKILL");
    await mirror.start();
    await expect
      .poll(() =>
        client.ping(signal).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    expect(await refusalOf(client.pushBlob(repository, sourceOf(large, digestOf(large)), signal))).toMatchObject(quotaRefusal);
  });

  it("count what is there: what was removed makes room", async () => {
    const { name, client, scratch } = await openOrg();
    const repository = parseRepository(`${name}/web`);
    const image = await imageOf([{ page: randomBytes(1.5 * mebibyte).toString("hex") }], { compressed: false });
    await pushImage(client, repository, "old", image);
    const next = randomBytes(5 * mebibyte);
    const push = () => client.pushBlob(repository, sourceOf(next, digestOf(next)), signal);
    expect(await refusalOf(push())).toMatchObject(quotaRefusal);
    for (const { name: record } of await listImages(scratch.ns, [], signal)) await deleteImage(scratch.ns, record, signal);
    await scratch.collect();
    // a listing is good for a second
    await expect
      .poll(
        () =>
          push().then(
            () => true,
            () => false,
          ),
        { timeout: 10_000, interval: 500 },
      )
      .toBe(true);
  });

  it("refuse more open uploads than it may have, and leave other orgs theirs", async () => {
    const [one, other] = [await openOrg(), await openOrg()];
    const open = [];
    for (let more = 0; more < limits.orgUploads; more += 1) open.push(await beginUpload(one.baseUrl, `${one.name}/web`));
    const refused = await rawRequest(`${one.baseUrl}/v2/${one.name}/web/blobs/uploads/`, { method: "POST" });
    expect(refused).toMatchObject({ status: 429, headers: { "retry-after": "5" } });
    expect(refused.body).toContain("TOOMANYREQUESTS");
    await beginUpload(other.baseUrl, `${other.name}/web`);
    await rawRequest(open[0]!, { method: "DELETE" });
    await beginUpload(one.baseUrl, `${one.name}/web`);
  });

  it("slow its pushes down instead of refusing them", async () => {
    const { baseUrl, name } = await openOrg();
    const url = await beginUpload(baseUrl, `${name}/web`);
    const beganAtMs = performance.now();
    // a second's worth passes at once, and the quota is half of that: one upload, begun over and over
    for (let round = 0; round < 3; round += 1) {
      const upload = round === 0 ? url : await beginUpload(baseUrl, `${name}/web`);
      expect((await rawRequest(upload, { method: "PATCH", body: bytesOf(7 * mebibyte) })).status).toBe(202);
      await rawRequest(upload, { method: "DELETE" });
    }
    expect(performance.now() - beganAtMs).toBeGreaterThan(((21 - 16) / 16) * 1000);
  });

  it("answer connections above the bound with 429, over which those before go on", async () => {
    const { address, baseUrl, name } = await openOrg();
    const open = async (): Promise<Socket> => {
      const socket = connect({ host: address, port: mirror.settings.mirror.port, localAddress: loopbackAddress() });
      socket.on("error", () => undefined);
      await once(socket, "connect");
      return socket;
    };
    const { localAddress } = await open();
    const same = () => connect({ host: address, port: mirror.settings.mirror.port, localAddress: localAddress! });
    const idle = Array.from({ length: limits.clientConnections - 1 }, same);
    await Promise.all(idle.map((socket) => once(socket, "connect")));
    const ask = async (socket: Socket) => {
      socket.write("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n");
      return String(((await once(socket, "data")) as [Buffer])[0]);
    };
    expect(await ask(idle[0]!)).toMatch(/^HTTP\/1.1 200/);
    const excess = same();
    await once(excess, "connect");
    const answer = await ask(excess);
    expect(answer).toMatch(/^HTTP\/1.1 429/);
    expect(answer).toMatch(/^connection: close/im);
    expect(answer).toMatch(/^retry-after: 5/im);
    expect(await ask(idle[1]!)).toMatch(/^HTTP\/1.1 200/);
    // another client of the same org is not concerned
    await beginUpload(baseUrl, `${name}/web`);
    for (const socket of idle) socket.destroy();
  });
});
