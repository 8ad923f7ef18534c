import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { createDistributionClient } from "../../../../oci/distribution-client.ts";
import { digestOf } from "../../../../oci/digest.ts";
import { parseRepository } from "../../../../oci/repository.ts";
import { createRegistryApp } from "../../../../registry/app.ts";
import { createPresignedRedirect } from "../../../../registry/blobs/presigned-redirect.ts";
import { createBucket } from "../../../../registry/bucket/bucket.ts";
import { createS3Client } from "../../../../registry/bucket/s3-client.ts";
import { type S3Store, openS3Store } from "../../../../registry/s3-store.ts";
import { type ScratchBucket, openScratchBucket } from "../scratch-bucket.ts";

const signal = AbortSignal.timeout(300_000);
const repository = parseRepository("acme/web");
const bytes = randomBytes(300_000);
const digest = digestOf(bytes);
let scratch: ScratchBucket;
let store: S3Store;
const opened: FastifyInstance[] = [];

beforeAll(async () => {
  scratch = await openScratchBucket();
  store = openS3Store(scratch);
  const url = await serve(["10.0.0.0/8"]);
  using client = createDistributionClient({ baseUrl: url });
  await client.pushBlob(repository, { digest, sizeBytes: bytes.length, open: () => Readable.from([bytes]) }, signal);
});
afterAll(async () => {
  for (const app of opened) await app.close();
  await store[Symbol.asyncDispose]();
  await scratch[Symbol.asyncDispose]();
});

async function serve(clients: readonly string[], endpoint?: string, expiresS?: number): Promise<string> {
  const bucket = createBucket({ s3: scratch.s3, bucket: scratch.bucket });
  const signer = endpoint === undefined ? scratch.s3 : createS3Client({ ...inject("s3"), endpoint, forcePathStyle: true });
  const locateBlob = createPresignedRedirect({ bucket, signer, clients, ...(expiresS === undefined ? {} : { expiresS }) });
  const app = createRegistryApp({ ...scratch, store, locateBlob });
  await app.listen({ host: "127.0.0.1", port: 0 });
  opened.push(app);
  return app.listeningOrigin;
}
const blobUrl = (origin: string, of = digest) => `${origin}/v2/${repository}/blobs/${of}`;

it("a client of a named network is sent to the bucket, where it gets the bytes, whole or in part, and may not change a letter", async () => {
  const origin = await serve(["192.168.0.0/16", "127.0.0.0/8"]);
  const { status, headers } = await fetch(blobUrl(origin), { redirect: "manual" });
  const location = headers.get("location")!;
  expect([status, headers.get("docker-content-digest"), headers.get("cache-control")]).toEqual([307, digest, "no-store"]);
  expect(location).toMatch(new RegExp(`^${inject("s3").endpoint}/${scratch.bucket}/bytes/.*X-Amz-Expires=300&.*X-Amz-Signature=`));

  const whole = await fetch(blobUrl(origin));
  expect(digestOf(Buffer.from(await whole.arrayBuffer()))).toBe(digest);
  const part = await fetch(blobUrl(origin), { headers: { range: "bytes=1000-1999" } });
  expect(part.status).toBe(206);
  expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1000, 2000))).toBe(true);

  const tampered = [
    location.replace(/X-Amz-Signature=(.)/, (_all, first: string) => `X-Amz-Signature=${first === "0" ? "1" : "0"}`),
    location.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"),
    location.replace("/bytes/", "/digests/"),
    location.split("?")[0]!,
  ];
  for (const url of tampered) expect((await fetch(url)).status).toBe(403);
  expect((await fetch(location, { method: "PUT", body: "evil" })).status).toBe(403);
});

it("others are served here, and so are HEAD, a conditional GET, and what is not there", async () => {
  const elsewhere = await serve(["10.0.0.0/8", "fd00::/8"]);
  const streamed = await fetch(blobUrl(elsewhere), { redirect: "manual" });
  expect(streamed.status).toBe(200);
  expect(digestOf(Buffer.from(await streamed.arrayBuffer()))).toBe(digest);
  const origin = await serve(["127.0.0.1/32"]);
  const ask = (options: RequestInit, of = digest) => fetch(blobUrl(origin, of), { redirect: "manual", ...options });
  expect((await ask({ method: "HEAD" })).status).toBe(200);
  expect((await ask({ headers: { "if-none-match": `"${digest}"` } })).status).toBe(304);
  expect((await ask({}, digestOf("absent"))).status).toBe(404);
  expect((await ask({})).status).toBe(307);
});

it("an address is signed for the endpoint that clients reach, and is over when it says so", async () => {
  const far = await serve(["127.0.0.0/8"], "https://bucket.example:9000", 60);
  const { headers } = await fetch(blobUrl(far), { redirect: "manual" });
  expect(headers.get("location")).toMatch(/^https:\/\/bucket\.example:9000\/.*X-Amz-Expires=60&/);
  const short = await serve(["127.0.0.0/8"], undefined, 1);
  const location = (await fetch(blobUrl(short), { redirect: "manual" })).headers.get("location")!;
  await expect.poll(async () => (await fetch(location)).status, { timeout: 10_000, interval: 500 }).toBe(403);
});

it("crane follows, and so does our own client when it knows the storage", async () => {
  const origin = await serve(["127.0.0.0/8"]);
  const reference = `${new URL(origin).host}/${repository}@${digest}`;
  const crane = path.join(inject("toolsBinDir"), "crane");
  const { stdout } = await promisify(execFile)(crane, ["blob", "--insecure", reference], { encoding: "buffer", maxBuffer: 1 << 20 });
  expect(digestOf(stdout)).toBe(digest);
  using client = createDistributionClient({ baseUrl: origin });
  const content = await client.readBlob(repository, digest, undefined, signal);
  expect(digestOf(Buffer.concat((await content!.body.toArray()) as Buffer[]))).toBe(digest);
});

it("a token for the registry is not carried to the bucket's host", async () => {
  const seen: (string | undefined)[] = [];
  const storage = createServer((request, reply) => {
    seen.push(request.headers.authorization);
    reply.end(bytes);
  });
  await new Promise<void>((resolve) => storage.listen(0, "127.0.0.1", resolve));
  try {
    const origin = await serve(["127.0.0.0/8"], `http://localhost:${(storage.address() as AddressInfo).port}`);
    await (await fetch(blobUrl(origin), { headers: { authorization: "Bearer token" } })).arrayBuffer();
    expect(seen).toEqual([undefined]);
  } finally {
    storage.closeAllConnections();
    storage.close();
  }
});
