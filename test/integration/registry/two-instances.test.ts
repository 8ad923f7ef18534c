import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { eventually } from "../../support/eventually.ts";
import { type RegistryProcess, createRegistryProcess } from "./registry-process.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const mebi = 1024 * 1024;
const manifestType = "application/vnd.oci.image.manifest.v1+json";

let bucket: ScratchBucket;
let a: RegistryProcess;
let b: RegistryProcess;

beforeAll(async () => {
  bucket = await openScratchBucket();
  [a, b] = [await createRegistryProcess(bucket.bucket), await createRegistryProcess(bucket.bucket)];
  await Promise.all([a.start(), b.start()]);
});
afterAll(async () => {
  await Promise.all([a, b].map((instance) => instance[Symbol.asyncDispose]()));
  await bucket[Symbol.asyncDispose]();
});

const freshRepository = () => `test/${randomUUID().slice(0, 8)}`;

async function send(
  instance: RegistryProcess,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: Uint8Array<ArrayBuffer>,
) {
  const answer = await fetch(instance.url + path, { method, headers, ...(body === undefined ? {} : { body }) });
  return { status: answer.status, headers: answer.headers, body: Buffer.from(await answer.arrayBuffer()) };
}

/** @returns the path of the upload, the same at each instance */
async function startUpload(instance: RegistryProcess, repository: string): Promise<string> {
  const { status, headers } = await send(instance, "POST", `/v2/${repository}/blobs/uploads/`);
  expect(status).toBe(202);
  return new URL(headers.get("location")!, instance.url).pathname;
}

async function pushBlob(instance: RegistryProcess, repository: string, bytes: Buffer<ArrayBuffer>): Promise<string> {
  const digest = digestOf(bytes);
  const location = await startUpload(instance, repository);
  const { status } = await send(instance, "PUT", `${location}?digest=${digest}`, {}, bytes);
  expect(status).toBe(201);
  return digest;
}

async function pushImage(instance: RegistryProcess, repository: string, tag: string): Promise<string> {
  const blobs = [randomBytes(200), randomBytes(300)];
  const descriptors = blobs.map((bytes) => ({ mediaType: "application/octet-stream", digest: digestOf(bytes), size: bytes.length }));
  for (const bytes of blobs) await pushBlob(instance, repository, bytes);
  const [config, ...layers] = descriptors;
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config, layers }));
  const { status, headers } = await send(instance, "PUT", `/v2/${repository}/manifests/${tag}`, { "content-type": manifestType }, manifest);
  expect(status).toBe(201);
  return headers.get("docker-content-digest")!;
}

/** The digest that a tag names; its manifest and all that this names must be there. */
async function pullImage(instance: RegistryProcess, repository: string, tag: string): Promise<string> {
  const answer = await send(instance, "GET", `/v2/${repository}/manifests/${tag}`, { accept: manifestType });
  expect(answer.status).toBe(200);
  const digest = answer.headers.get("docker-content-digest")!;
  expect(digestOf(answer.body)).toBe(digest);
  const { config, layers } = JSON.parse(answer.body.toString()) as { config: { digest: string }; layers: { digest: string }[] };
  for (const child of [config, ...layers]) {
    const blob = await send(instance, "GET", `/v2/${repository}/blobs/${child.digest}`);
    expect(blob.status).toBe(200);
    expect(digestOf(blob.body)).toBe(child.digest);
  }
  return digest;
}

describe("two instances over one bucket", () => {
  it("take the chunks of one upload in turn", async () => {
    const repository = freshRepository();
    const bytes = randomBytes(25 * mebi);
    const location = await startUpload(a, repository);
    const chunks = [0, 7, 8, 17, 25].map((end) => end * mebi);
    for (const [index, instance] of [b, a, b, a].entries()) {
      const [first, end] = [chunks[index]!, chunks[index + 1]!];
      const range = { "content-range": `${first}-${end - 1}` };
      expect((await send(instance, "PATCH", location, range, bytes.subarray(first, end))).status).toBe(202);
      // the other one says the same, and refuses what was sent already
      const other = instance === a ? b : a;
      expect((await send(other, "GET", location)).headers.get("range")).toBe(`0-${end - 1}`);
      expect((await send(other, "PATCH", location, range, bytes.subarray(first, end))).status).toBe(416);
    }
    const digest = digestOf(bytes);
    expect((await send(b, "PUT", `${location}?digest=${digest}`)).status).toBe(201);
    expect(digestOf((await send(a, "GET", `/v2/${repository}/blobs/${digest}`)).body)).toBe(digest);
    expect(await bucket.keys("uploads/")).toEqual([]);
  });

  it("never let a tag name anything but a whole image, while 20 clients push it at both", async () => {
    const repository = freshRepository();
    const pushed = new Set([await pushImage(a, repository, "latest")]);
    let isPushing = true;
    const seen = new Set<string>();
    const readers = [a, b].map(async (instance) => {
      while (isPushing) seen.add(await pullImage(instance, repository, "latest"));
    });
    const writers = Array.from({ length: 20 }, async (_, index) =>
      pushed.add(await pushImage(index % 2 === 0 ? a : b, repository, "latest")),
    );
    await Promise.all(writers).finally(() => (isPushing = false));
    await Promise.all(readers);
    expect(pushed.size).toBe(21);
    for (const digest of seen) expect(pushed).toContain(digest);
    const last = await pullImage(a, repository, "latest");
    expect(pushed).toContain(last);
    expect(await pullImage(b, repository, "latest")).toBe(last);
  });

  it("take the same blob at the same time, and keep its bytes once", async () => {
    const repositories = [freshRepository(), freshRepository()];
    const bytes = randomBytes(9 * mebi);
    const before = (await bucket.keys("bytes/")).length;
    const pushes = Array.from({ length: 8 }, (_, index) => pushBlob(index % 2 === 0 ? a : b, repositories[index % 2]!, bytes));
    const [digest] = await Promise.all(pushes);
    for (const [instance, repository] of [
      [a, repositories[1]!],
      [b, repositories[0]!],
    ] as const) {
      expect(digestOf((await send(instance, "GET", `/v2/${repository}/blobs/${digest}`)).body)).toBe(digest);
    }
    await eventually(async () => {
      expect((await bucket.keys("bytes/")).length).toBe(before + 1);
      expect(await bucket.keys("uploads/")).toEqual([]);
    });
  });

  it("see at once what the other one deleted", async () => {
    const repository = freshRepository();
    const digest = await pushImage(a, repository, "v1");
    expect(await pullImage(b, repository, "v1")).toBe(digest);
    const manifests = `/v2/${repository}/manifests`;

    expect((await send(b, "DELETE", `${manifests}/v1`)).status).toBe(202);
    expect((await send(a, "GET", `${manifests}/v1`)).status).toBe(404);
    expect((await send(a, "GET", `${manifests}/${digest}`)).status).toBe(200);

    const manifest = await send(a, "GET", `${manifests}/${digest}`);
    await send(a, "PUT", `${manifests}/v2`, { "content-type": manifestType }, manifest.body);
    expect(await pullImage(b, repository, "v2")).toBe(digest);
    expect((await send(a, "DELETE", `${manifests}/${digest}`)).status).toBe(202);
    for (const reference of ["v2", digest]) expect((await send(b, "GET", `${manifests}/${reference}`)).status).toBe(404);

    const { config } = JSON.parse(manifest.body.toString()) as { config: { digest: string } };
    expect((await send(a, "DELETE", `/v2/${repository}/blobs/${config.digest}`)).status).toBe(202);
    expect((await send(b, "GET", `/v2/${repository}/blobs/${config.digest}`)).status).toBe(404);
  });

  it("lose no push when one of them is killed in the middle of it: the client goes on at the other", async () => {
    const repository = freshRepository();
    const bytes = randomBytes(40 * mebi);
    const digest = digestOf(bytes);
    const doomed = await createRegistryProcess(bucket.bucket);
    await doomed.start();
    const location = await startUpload(doomed, repository);
    const first = 10 * mebi;
    expect((await send(doomed, "PATCH", location, { "content-range": `0-${first - 1}` }, bytes.subarray(0, first))).status).toBe(202);
    const { hostname, port } = new URL(doomed.url);
    const broken = httpRequest({ hostname, port, method: "PATCH", path: location, headers: { "content-length": bytes.length - first } });
    const hasBroken = once(broken, "error").catch(() => undefined);
    await new Promise((resolve) => broken.write(bytes.subarray(first, 35 * mebi), resolve));
    await doomed.stop("SIGKILL");
    await hasBroken;

    const standing = Number((await send(b, "GET", location)).headers.get("range")!.split("-")[1]) + 1;
    const range = { "content-range": `${standing}-${bytes.length - 1}` };
    expect((await send(b, "PATCH", location, range, bytes.subarray(standing))).status).toBe(202);
    // what was answered before the crash is not asked for again
    expect(standing).toBeGreaterThanOrEqual(first);
    expect((await send(a, "PUT", `${location}?digest=${digest}`)).status).toBe(201);
    expect(digestOf((await send(b, "GET", `/v2/${repository}/blobs/${digest}`)).body)).toBe(digest);
    // a client that did not hear of it asks again, at whichever instance, and is not told that anything failed
    expect((await send(b, "HEAD", `/v2/${repository}/blobs/${digest}`)).status).toBe(200);
    await doomed[Symbol.asyncDispose]();
  });
});
