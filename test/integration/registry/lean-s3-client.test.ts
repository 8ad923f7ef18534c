import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { type RequestListener, createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { LendingBody } from "../../../oci/lending-body.ts";
import { createBucket } from "../../../registry/bucket/bucket.ts";
import { LeanS3Client } from "../../../registry/bucket/lean-s3-client.ts";
import { openDownload } from "../../../registry/bucket/open-download.ts";
import { createS3Client } from "../../../registry/bucket/s3-client.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(60_000);
const mebi = 1024 * 1024;

describe("the short way to S3", () => {
  let scratch: ScratchBucket;
  let s3: S3Client;
  let Bucket: string;
  beforeAll(async () => {
    scratch = await openScratchBucket();
    ({ s3, bucket: Bucket } = scratch);
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  const put = async (Body: Buffer, Key = `k/${randomUUID()}`) => {
    await s3.send(new PutObjectCommand({ Bucket, Key, Body, ContentType: "text/x-test" }));
    return { Bucket, Key };
  };
  const failureOf = (sending: Promise<unknown>) => sending.then(() => undefined).catch((error: unknown) => error);

  it("stores and reads objects under keys of all kinds of characters", async () => {
    const object = await put(Buffer.from("hello"), `repositories/a:b/x y/(1)+*!'~é$&=?#${randomUUID()}`);
    const { Body, ContentLength, ContentType, ETag } = await s3.send(new GetObjectCommand(object));
    expect(Buffer.from(await Body!.transformToByteArray()).toString()).toBe("hello");
    expect({ ContentLength, ContentType }).toEqual({ ContentLength: 5, ContentType: "text/x-test" });
    expect(await s3.send(new HeadObjectCommand(object))).toMatchObject({ ETag, ContentLength: 5, ContentType: "text/x-test" });
    await s3.send(new DeleteObjectCommand(object));
    expect(await failureOf(s3.send(new HeadObjectCommand(object)))).toMatchObject({ name: "NotFound", $metadata: { httpStatusCode: 404 } });
    expect(await failureOf(s3.send(new GetObjectCommand(object)))).toMatchObject({ name: "NoSuchKey" });
  });

  it("writes only under its conditions", async () => {
    const object = await put(Buffer.from("1"));
    const over = (how: object) => failureOf(s3.send(new PutObjectCommand({ ...object, ...how, Body: Buffer.from("2") })));
    expect(await over({ IfNoneMatch: "*" })).toMatchObject({ $metadata: { httpStatusCode: 412 } });
    expect(await over({ IfMatch: '"0123"' })).toMatchObject({ $metadata: { httpStatusCode: 412 } });
    const { ETag } = await s3.send(new HeadObjectCommand(object));
    expect(await over({ IfMatch: ETag })).toBeUndefined();
  });

  it("sends parts that the SDK completes", async () => {
    const object = { Bucket, Key: `k/${randomUUID()}` };
    const parts = [randomBytes(6 * mebi), randomBytes(1000)];
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(object));
    const sent = parts.map(async (Body, index) => {
      const { ETag } = await s3.send(new UploadPartCommand({ ...object, UploadId, PartNumber: index + 1, Body }));
      return { PartNumber: index + 1, ETag };
    });
    const Parts = await Promise.all(sent);
    await s3.send(new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload: { Parts } }));
    const body = await openDownload(s3, { bucket: Bucket, key: object.Key, lengthBytes: 6 * mebi }, signal);
    expect((await buffer(body)).equals(Buffer.concat(parts))).toBe(true);
  });

  it("puts objects into a folder that others empty at the same time", async () => {
    const folder = `k/${randomUUID()}/x`;
    const rounds = Array.from({ length: 4 }, async (_, index) => {
      for (let count = 0; count < 40; count += 1) {
        const object = await put(Buffer.from("1"), `${folder}/${index}`);
        await s3.send(new DeleteObjectCommand(object));
      }
    });
    await Promise.all(rounds);
    expect(await scratch.keys(folder)).toEqual([]);
  });

  it("is refused with wrong keys", async () => {
    const stranger = createS3Client({ ...inject("s3"), secretAccessKey: "wrong", forcePathStyle: true });
    const { Key } = await put(Buffer.from("1"));
    expect(await failureOf(stranger.send(new GetObjectCommand({ Bucket, Key })))).toMatchObject({ name: "SignatureDoesNotMatch" });
    stranger.destroy();
  });

  describe("as a download", () => {
    const bytes = randomBytes(5 * mebi + 17);
    let key: string;
    beforeAll(async () => {
      key = (await put(bytes)).Key;
    });
    const open = (range?: string) =>
      openDownload(s3, { bucket: Bucket, key, lengthBytes: bytes.length, ...(range === undefined ? {} : { range }) }, signal);

    it("gives the bytes, and those of a range", async () => {
      expect((await buffer(await open())).equals(bytes)).toBe(true);
      expect((await buffer(await open("bytes=100-2000000"))).equals(bytes.subarray(100, 2_000_001))).toBe(true);
      expect((await buffer(await open("bytes=7-7"))).equals(bytes.subarray(7, 8))).toBe(true);
    });

    it("lends its memory to a reader that asks, and touches nothing that was not given back", async () => {
      const readings = Array.from({ length: 6 }, async (_, reader) => {
        const body = await open();
        if (!(body instanceof LendingBody)) throw new Error("not a lending body");
        body.lend();
        const found: Buffer[] = [];
        for await (const chunk of body as AsyncIterable<Buffer>) {
          const asGiven = Buffer.from(chunk);
          await sleep(reader * 2);
          expect(chunk.equals(asGiven)).toBe(true);
          found.push(asGiven);
          body.giveBack();
        }
        return Buffer.concat(found);
      });
      for (const found of await Promise.all(readings)) expect(found.equals(bytes)).toBe(true);
    });

    it("holds what is still lent after its end out of other downloads' hands", async () => {
      const first = (await open()) as LendingBody;
      first.lend();
      let last: Buffer | undefined;
      for await (const chunk of first as AsyncIterable<Buffer>) {
        if (last !== undefined) first.giveBack();
        last = chunk;
      }
      for (let count = 0; count < 4; count += 1) {
        const other = (await open("bytes=0-3999999")) as LendingBody;
        other.lend();
        for await (const _ of other) other.giveBack();
      }
      expect(last!.equals(bytes.subarray(bytes.length - last!.length))).toBe(true);
      first.giveBack();
    });

    it("tells that an object is not there", async () => {
      const missing = openDownload(s3, { bucket: Bucket, key: "k/none", lengthBytes: mebi }, signal);
      expect(await failureOf(missing)).toMatchObject({ name: "NoSuchKey" });
    });

    it("ends with its signal", async () => {
      const going = new AbortController();
      const body = await openDownload(s3, { bucket: Bucket, key, lengthBytes: bytes.length }, going.signal);
      going.abort(new Error("enough"));
      await expect(buffer(body)).rejects.toThrow("enough");
    });
  });
});

describe("over a connection that fails", () => {
  const keysOf = (port: number) => createS3Client({ ...inject("s3"), endpoint: `http://127.0.0.1:${port}`, forcePathStyle: true });

  async function serve(listener: RequestListener): Promise<AsyncDisposable & { s3: S3Client }> {
    const server = createServer(listener);
    await once(server.listen(0, "127.0.0.1"), "listening");
    const s3 = keysOf((server.address() as AddressInfo).port);
    return {
      s3,
      [Symbol.asyncDispose]: async () => {
        s3.destroy();
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }

  it("asks again after SlowDown and after a broken connection, with the whole body", async () => {
    const bodies: string[] = [];
    await using server = await serve((request, reply) => {
      void buffer(request).then((body) => {
        bodies.push(body.toString());
        if (bodies.length === 1) reply.writeHead(503).end("<Error><Code>SlowDown</Code></Error>");
        else if (bodies.length === 2) request.socket.destroy();
        else reply.setHeader("etag", '"1"').end();
      });
    });
    const sent = await server.s3.send(new PutObjectCommand({ Bucket: "b", Key: "k", Body: Buffer.from("whole") }));
    expect(sent.ETag).toBe('"1"');
    expect(bodies).toEqual(["whole", "whole", "whole"]);
  });

  it("reaches an S3 at an IPv6 address", async () => {
    const server = createServer((_request, reply) => reply.setHeader("etag", '"1"').end());
    await once(server.listen(0, "::1"), "listening");
    const s3 = createS3Client({
      ...inject("s3"),
      endpoint: `http://[::1]:${(server.address() as AddressInfo).port}`,
      forcePathStyle: true,
    });
    const sent = await s3.send(new HeadObjectCommand({ Bucket: "b", Key: "k" })).finally(() => {
      s3.destroy();
      server.close();
    });
    expect(sent.ETag).toBe('"1"');
  });

  it.each([
    ["an object", "200 OK"],
    ["a refusal", "403 Forbidden"],
  ])("does not wait for ever for the rest of %s", async (_what, status) => {
    const server = createTcpServer((socket) => {
      socket.on("error", () => {}).once("data", () => socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 1000\r\n\r\nonly this`));
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const times = { maxAttempts: 1, connectionTimeoutMs: 1000, requestTimeoutMs: 200, maxSockets: 4 };
    const lean = new LeanS3Client({ ...inject("s3"), endpoint, forcePathStyle: true, ...times });
    const getting = createBucket({ s3: lean, bucket: "b" }).get("k", signal);
    await expect(getting).rejects.toMatchObject({ code: "UNAVAILABLE", cause: { name: "TimeoutError" } });
    lean.destroy();
    server.close();
  });

  it("asks a refusal only once", async () => {
    let count = 0;
    await using server = await serve((_request, reply) => {
      count += 1;
      reply.writeHead(403).end("<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
    });
    await expect(server.s3.send(new GetObjectCommand({ Bucket: "b", Key: "k" }))).rejects.toMatchObject({ name: "AccessDenied" });
    expect(count).toBe(1);
  });

  it("goes by the clock of S3 when ours is wrong", async () => {
    const times: string[] = [];
    await using server = await serve((request, reply) => {
      times.push(request.headers["x-amz-date"] as string);
      reply.setHeader("date", "Mon, 01 Jan 2035 00:00:00 GMT");
      if (times.length === 1) reply.writeHead(403).end("<Error><Code>RequestTimeTooSkewed</Code></Error>");
      else reply.end();
    });
    await server.s3.send(new HeadObjectCommand({ Bucket: "b", Key: "k" }));
    expect(times.at(-1)).toMatch(/^20350101T0000/);
  });

  it("fails a download that ends too early, and never calls it whole", async () => {
    const server = createTcpServer((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"));
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const s3 = keysOf((server.address() as AddressInfo).port);
    const body = await openDownload(s3, { bucket: "b", key: "k", lengthBytes: mebi }, signal);
    await expect(buffer(body)).rejects.toThrow("991 bytes early");
    s3.destroy();
    server.close();
  });
});
