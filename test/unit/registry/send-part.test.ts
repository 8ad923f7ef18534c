import { once } from "node:events";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBucket } from "../../../registry/bucket/bucket.ts";
import { createS3Client } from "../../../registry/bucket/s3-client.ts";
import { sendPart } from "../../../registry/uploads/multipart.ts";

const signal = AbortSignal.timeout(30_000);
const multipart = { key: "bytes/one", uploadId: "gone" };

describe("sendPart", () => {
  let server: Server;
  let knowsUpload = false;

  beforeAll(async () => {
    // takes no body: the connection is reset under it, and what was answered is lost
    server = createServer((request, response) => {
      if (request.method === "PUT") return void request.socket.resetAndDestroy();
      const list = "<ListPartsResult><UploadId>gone</UploadId><IsTruncated>false</IsTruncated></ListPartsResult>";
      if (knowsUpload) return void response.writeHead(200, { "content-type": "application/xml" }).end(list);
      response.writeHead(404, { "content-type": "application/xml" }).end("<Error><Code>NoSuchUpload</Code><Message>gone</Message></Error>");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  afterAll(() => server.close().closeAllConnections());

  const send = () => {
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const s3 = createS3Client({ endpoint, region: "us-east-1", accessKeyId: "a", secretAccessKey: "b", forcePathStyle: true });
    return sendPart(createBucket({ s3, bucket: "some" }), multipart, 1, new Uint8Array(1000), signal);
  };

  it("says that the upload is gone also when S3 closes the connection before it could say so", async () => {
    knowsUpload = false;
    expect(await send()).toBeUndefined();
  });

  it("is unavailable while S3 still knows the upload", async () => {
    knowsUpload = true;
    await expect(send()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
