import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DistributionClient, createDistributionClient } from "../../../oci/distribution-client.ts";
import { digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { type Repository, parseRepository } from "../../../oci/repository.ts";
import { createRegistryApp } from "../../../registry/app.ts";
import { storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const mebibyte = 1024 * 1024;
const freshRepository = (): Repository => parseRepository(`http/${randomUUID()}`);

type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: Buffer };

describe("registry over HTTP", () => {
  let scratch: ScratchBucket;
  let store: S3Store;
  let app: FastifyInstance;
  let port: number;
  let client: DistributionClient;
  const lines: Record<string, unknown>[] = [];

  beforeAll(async () => {
    scratch = await openScratchBucket();
    store = openS3Store(scratch);
    const log = { info: (fields: object) => void lines.push({ ...fields }), error: (fields: object) => void lines.push({ ...fields }) };
    app = createRegistryApp({ ...scratch, store, log });
    await app.listen({ host: "127.0.0.1", port: 0 });
    ({ port } = app.server.address() as AddressInfo);
    client = createDistributionClient({ baseUrl: `http://127.0.0.1:${port}` });
  });
  afterAll(async () => {
    client[Symbol.dispose]();
    await app.close();
    await store[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  const send = async (method: string, path: string, headers: Record<string, string> = {}, body?: Buffer): Promise<Answer> => {
    const request = httpRequest({ host: "127.0.0.1", port, method, path, headers });
    request.end(body);
    const [response] = (await once(request, "response")) as [Readable & { statusCode: number; headers: IncomingHttpHeaders }];
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat((await response.toArray()) as Buffer[]) };
  };
  const codeOf = (answer: Answer): unknown => (JSON.parse(answer.body.toString()) as { errors: { code: string }[] }).errors[0]?.code;
  const startUpload = async (repository: Repository): Promise<string> =>
    (await send("POST", `/v2/${repository}/blobs/uploads/`)).headers.location!;
  const pushBlob = (repository: Repository, bytes: Buffer) =>
    client.pushBlob(
      repository,
      { digest: digestOf(bytes), sizeBytes: bytes.length, open: (offset) => Readable.from([bytes.subarray(offset)]) },
      signal,
    );

  it("cuts the connection when the bucket holds fewer bytes of a large blob than it was told", async () => {
    const repository = freshRepository();
    const bytes = randomBytes(2 * mebibyte);
    await pushBlob(repository, bytes);
    const record = await scratch.s3.send(
      new GetObjectCommand({ Bucket: scratch.bucket, Key: storageKeys.blob(repository, digestOf(bytes)) }),
    );
    const { key: Key } = JSON.parse(Buffer.from(await record.Body!.transformToByteArray()).toString()) as { key: string };
    await scratch.s3.send(new PutObjectCommand({ Bucket: scratch.bucket, Key, Body: bytes.subarray(0, mebibyte) }));
    await expect(send("GET", `/v2/${repository}/blobs/${digestOf(bytes)}`)).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  it("carries an image from a client into the bucket and back", async () => {
    const repository = freshRepository();
    const [config, layer] = [Buffer.from("{}"), randomBytes(20 * mebibyte)];
    await Promise.all([config, layer].map((bytes) => pushBlob(repository, bytes)));
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        config: { mediaType: mediaTypes.imageConfig, digest: digestOf(config), size: config.length },
        layers: [{ mediaType: mediaTypes.layerTar, digest: digestOf(layer), size: layer.length }],
      }),
    );
    const v1 = parseManifestReference("v1");
    await client.pushManifest(repository, v1, mediaTypes.imageManifest, manifest, signal);
    expect(await client.resolveManifest(repository, v1, signal)).toMatchObject({ digest: digestOf(manifest), size: manifest.length });
    expect(Buffer.from((await client.readManifest(repository, v1, signal))!.bytes).equals(manifest)).toBe(true);
    const content = await client.readBlob(repository, digestOf(layer), undefined, signal);
    expect(digestOf(Buffer.concat(await content!.body.toArray()))).toBe(digestOf(layer));
    expect(await client.listTags(repository, signal)).toEqual(["v1"]);
    const other = freshRepository();
    expect(await client.mountBlob(other, digestOf(layer), repository, signal)).toBe(true);
    expect(await client.mountBlob(other, digestOf("absent"), repository, signal)).toBe(false);
    expect(await client.statBlob(other, digestOf(layer), signal)).toMatchObject({ size: layer.length });
  });

  it("answers ranges with 206, what lies outside with 416, and a known entity tag with 304", async () => {
    const repository = freshRepository();
    const bytes = Buffer.from("0123456789");
    await pushBlob(repository, bytes);
    const path = `/v2/${repository}/blobs/${digestOf(bytes)}`;
    const part = await send("GET", path, { range: "bytes=2-4" });
    expect(part).toMatchObject({ status: 206, headers: { "content-range": "bytes 2-4/10", "content-length": "3" } });
    expect(part.body.toString()).toBe("234");
    expect((await send("GET", path, { range: "bytes=-3" })).body.toString()).toBe("789");
    expect((await send("GET", path, { range: "bytes=0-1,4-5" })).status).toBe(200);
    expect((await send("GET", path, { range: "bytes=2-4", "if-range": '"other"' })).status).toBe(200);
    expect(await send("GET", path, { range: "bytes=10-" })).toMatchObject({ status: 416, headers: { "content-range": "bytes */10" } });
    expect(await send("GET", path, { "if-none-match": `"${digestOf(bytes)}"` })).toMatchObject({ status: 304, body: Buffer.alloc(0) });
    const head = await send("HEAD", path);
    expect(head).toMatchObject({ status: 200, headers: { "content-length": "10", "docker-content-digest": digestOf(bytes) } });
  });

  it("takes chunks in order, refuses others with 416 and tells where an upload stands", async () => {
    const repository = freshRepository();
    const location = await startUpload(repository);
    const chunk = (range: string, text: string) =>
      send("PATCH", location, { "content-range": range, "content-length": String(text.length) }, Buffer.from(text));
    expect(await chunk("0-2", "abc")).toMatchObject({ status: 202, headers: { range: "0-2" } });
    expect(await chunk("5-7", "fgh")).toMatchObject({ status: 416 });
    expect(codeOf(await chunk("3-9", "def"))).toBe("SIZE_INVALID");
    expect(await send("GET", location)).toMatchObject({ status: 204, headers: { range: "0-2", location } });
    const digest = digestOf("abcdef");
    const finished = await send("PUT", `${location}?digest=${digest}`, { "content-range": "3-5" }, Buffer.from("def"));
    expect(finished).toMatchObject({
      status: 201,
      headers: { location: `/v2/${repository}/blobs/${digest}`, "docker-content-digest": digest },
    });
    expect((await send("GET", location)).status).toBe(404);
  });

  it("takes a whole blob in one POST, and forgets it when its digest is wrong", async () => {
    const repository = freshRepository();
    const push = (digest: string) => send("POST", `/v2/${repository}/blobs/uploads/?digest=${digest}`, {}, Buffer.from("whole"));
    expect(await push(digestOf("whole"))).toMatchObject({ status: 201, headers: { "docker-content-digest": digestOf("whole") } });
    expect(await push(digestOf("other")).then(codeOf)).toBe("DIGEST_INVALID");
    expect(await push("sha256:short").then(codeOf)).toBe("DIGEST_INVALID");
    expect(await client.statBlob(repository, digestOf("other"), signal)).toBeUndefined();
  });

  it("refuses a manifest above 4 MiB with 413, announced or not", async () => {
    const path = `/v2/${freshRepository()}/manifests/big`;
    const body = Buffer.alloc(4 * mebibyte + 1, 32);
    const type = { "content-type": mediaTypes.imageManifest };
    expect((await send("PUT", path, { ...type, "content-length": String(body.length) }, body)).status).toBe(413);
    expect((await send("PUT", path, { ...type, "transfer-encoding": "chunked" }, body)).status).toBe(413);
    expect(codeOf(await send("PUT", path, type, Buffer.alloc(4 * mebibyte, 32)))).toBe("MANIFEST_INVALID");
  });

  it("answers a client that reads only after it has sent its whole body, and keeps the connection", async () => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (data) => (text += data.toString()));
    const body = Buffer.alloc(16 * mebibyte);
    socket.write(`PATCH /v2/a/blobs/uploads/unknown HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`);
    await new Promise<void>((resolve, reject) => socket.write(body, (error) => (error ? reject(error) : resolve())));
    socket.write("GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    await once(socket, "close");
    expect(text).toContain("HTTP/1.1 404");
    expect(text).toContain("BLOB_UPLOAD_UNKNOWN");
    expect(text).toContain("HTTP/1.1 200 OK");
  });

  it("lets a client that broke off in the middle resume where it stood", async () => {
    const repository = freshRepository();
    const bytes = randomBytes(20 * mebibyte);
    const location = await startUpload(repository);
    const broken = httpRequest({ host: "127.0.0.1", port, method: "PATCH", path: location, headers: { "content-length": bytes.length } });
    broken.on("error", () => {});
    await new Promise((resolve) => broken.write(bytes.subarray(0, 12 * mebibyte), resolve));
    broken.destroy();
    // the registry hears of it in its own time; until then it says 0-0
    let standing = 0;
    for (let before = -1; before !== standing || standing <= 1; await sleep(50)) {
      before = standing;
      standing = Number((await send("GET", location)).headers.range!.split("-")[1]) + 1;
    }
    expect(standing).toBeLessThanOrEqual(12 * mebibyte);
    const rest = bytes.subarray(standing);
    expect((await send("PATCH", location, { "content-range": `${standing}-${bytes.length - 1}` }, rest)).status).toBe(202);
    expect((await send("PUT", `${location}?digest=${digestOf(bytes)}`)).status).toBe(201);
  });

  it("stops reading S3 when its reader goes away, and serves the next", async () => {
    const repository = freshRepository();
    const bytes = randomBytes(8 * mebibyte);
    await pushBlob(repository, bytes);
    const leaveEarly = async (): Promise<void> => {
      const request = httpRequest({ host: "127.0.0.1", port, path: `/v2/${repository}/blobs/${digestOf(bytes)}` });
      request.on("error", () => {});
      request.end();
      await once(request, "response");
      request.destroy();
    };
    for (let round = 0; round < 15; round += 1) await Promise.all(Array.from({ length: 20 }, leaveEarly));
    // more readers than the S3 client has connections: a leaked one each would stop this
    const content = await client.readBlob(repository, digestOf(bytes), undefined, signal);
    expect(digestOf(Buffer.concat(await content!.body.toArray()))).toBe(digestOf(bytes));
  });

  it("pages tags with Link", async () => {
    const repository = freshRepository();
    await pushBlob(repository, Buffer.from("{}"));
    const manifest = Buffer.from(
      JSON.stringify({ schemaVersion: 2, config: { mediaType: "x/y", digest: digestOf("{}"), size: 2 }, layers: [] }),
    );
    for (const tag of ["a", "b", "c"])
      await client.pushManifest(repository, parseManifestReference(tag), mediaTypes.imageManifest, manifest, signal);
    const first = await send("GET", `/v2/${repository}/tags/list?n=2`);
    expect(JSON.parse(first.body.toString())).toEqual({ name: repository, tags: ["a", "b"] });
    expect(first.headers.link).toBe(`</v2/${repository}/tags/list?n=2&last=b>; rel="next"`);
    const second = await send("GET", `/v2/${repository}/tags/list?n=2&last=b`);
    expect(JSON.parse(second.body.toString())).toEqual({ name: repository, tags: ["c"] });
    expect(second.headers.link).toBeUndefined();
    expect(await send("GET", `/v2/${repository}/tags/list?n=x`).then(codeOf)).toBe("UNSUPPORTED");
    expect(await send("GET", `/v2/${freshRepository()}/tags/list`).then(codeOf)).toBe("NAME_UNKNOWN");
  });

  it.each([
    ["GET", "/v2/_catalog", 404, "UNSUPPORTED"],
    ["DELETE", `/v2/a/manifests/${digestOf("x")}`, 404, "MANIFEST_UNKNOWN"],
    ["DELETE", "/v2/a/manifests/absent", 404, "MANIFEST_UNKNOWN"],
    ["DELETE", `/v2/a/blobs/${digestOf("x")}`, 404, "BLOB_UNKNOWN"],
    ["DELETE", "/v2/a/blobs/uploads/absent", 404, "BLOB_UPLOAD_UNKNOWN"],
    ["POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID"],
    ["GET", "/v2/a/referrers/sha256:short", 400, "DIGEST_INVALID"],
    ["PUT", "/v2/a/tags/list", 405, "UNSUPPORTED"],
    ["GET", "/v2/a%2f..%2fb/manifests/x", 400, "NAME_INVALID"],
    ["GET", "/v2/Upper/manifests/x", 400, "NAME_INVALID"],
    ["GET", "/v2/%zz/manifests/x", 400, "NAME_INVALID"],
    ["PUT", "/v2/a/manifests/%zz", 400, "MANIFEST_INVALID"],
    ["GET", "/v2/a/blobs/sha256%3zabc", 400, "DIGEST_INVALID"],
    ["PATCH", "/v2/a/blobs/uploads/%", 404, "BLOB_UPLOAD_UNKNOWN"],
    ["GET", "/elsewhere/%zz", 404, "UNSUPPORTED"],
    ["GET", "/v2/a/manifests/absent", 404, "MANIFEST_UNKNOWN"],
    ["PUT", "/v2/a/blobs/uploads/absent", 400, "DIGEST_INVALID"],
  ])("answers %s %s with %d %s", async (method, path, status, code) => {
    const answer = await send(method, path);
    expect([answer.status, codeOf(answer)]).toEqual([status, code]);
  });

  it("logs one line per request, with repository, status, bytes and milliseconds", async () => {
    const repository = freshRepository();
    lines.length = 0;
    await pushBlob(repository, Buffer.from("logged"));
    await expect.poll(() => lines.length).toBe(2);
    expect(lines[1]).toMatchObject({ method: "PUT", repository, status: 201, receivedBytes: 6, durationMs: expect.any(Number) as number });
  });

  it("is ready only while its bucket answers", async () => {
    expect((await send("GET", "/readyz")).status).toBe(200);
    const orphan = createRegistryApp({ store, s3: scratch.s3, bucket: `absent-${randomUUID()}` });
    expect((await orphan.inject("/readyz")).statusCode).toBe(503);
    expect((await orphan.inject("/healthz")).statusCode).toBe(200);
    await orphan.close();
  });
});
