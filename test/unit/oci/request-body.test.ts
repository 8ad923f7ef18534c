import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Readable } from "node:stream";
import { expect, test } from "vitest";
import { openRequestBody } from "../../../oci/routes/request-body.ts";

const silentMs = 100;

/** A server that hands out the body of its one request. */
async function openUpload(leastBytes = 1) {
  const server = createServer();
  const asked = once(server, "request");
  await once(server.listen(0, "127.0.0.1"), "listening");
  const client = httpRequest({ host: "127.0.0.1", port: (server.address() as AddressInfo).port, method: "PATCH" });
  const closed = once(client, "error");
  client.write("first");
  const [request] = (await asked) as [Parameters<typeof openRequestBody>[0]];
  const body = openRequestBody(request, () => {}, silentMs, leastBytes);
  return { client, closed, body, [Symbol.dispose]: () => void (server.closeAllConnections(), server.close()) };
}

const readAll = async (body: Readable): Promise<string> => Buffer.concat((await body.toArray()) as Buffer[]).toString();

test("a client that sends nothing any more is cut off", async () => {
  using upload = await openUpload();
  await expect(readAll(upload.body)).rejects.toThrow("the client sent 0 bytes in 0.1 s");
  expect(await upload.closed).toHaveLength(1);
});

test("a slow client that goes on sending is not", async () => {
  using upload = await openUpload();
  const text = readAll(upload.body);
  for (let sent = 0; sent < 8; sent += 1) {
    await sleep(silentMs / 3);
    upload.client.write(".");
  }
  upload.client.end();
  expect(await text).toBe("first........");
});

test("a client that lets a body drip, to keep its connection busy, is cut off", async () => {
  using upload = await openUpload(1000);
  const dripping = setInterval(() => upload.client.write("."), silentMs / 10);
  await expect(readAll(upload.body)).rejects.toThrow(/the client sent \d+ bytes in 0.1 s/);
  clearInterval(dripping);
  expect(await upload.closed).toHaveLength(1);
});

test("a client that waits for a slow reader is not", async () => {
  using upload = await openUpload();
  const size = 4 * 1024 * 1024;
  upload.client.end(Buffer.alloc(size));
  let received = 0;
  for await (const chunk of upload.body as AsyncIterable<Buffer>) {
    // the body is full all the while
    if (received === 0) await sleep(silentMs * 3);
    received += chunk.length;
  }
  expect(received).toBe(size + "first".length);
});
