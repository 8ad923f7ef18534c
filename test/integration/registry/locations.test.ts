import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { createRegistryApp } from "../../../registry/app.ts";
import { createBucket } from "../../../registry/bucket/bucket.ts";
import { createLocationRecords, locationLifeMs, sweepLocations } from "../../../registry/locations/location-records.ts";
import { openS3Store } from "../../../registry/s3-store.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(60_000);
const repository = parseRepository("acme/web/api");
const systemToken = "s".repeat(40);
const path = (digest: string, host = "") => `/slipway/v1/locations/${repository}/${digest}${host}`;
const basic = (password: string, user = "slipway") => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});

describe("the registry's record of which hosts have an image", () => {
  const stack = new AsyncDisposableStack();
  let scratch: ScratchBucket;
  let records: ReturnType<typeof createLocationRecords>;
  let app: ReturnType<typeof createRegistryApp>;

  beforeAll(async () => {
    scratch = stack.use(await openScratchBucket());
    records = createLocationRecords(createBucket(scratch));
    const store = stack.use(openS3Store(scratch));
    app = createRegistryApp({ ...scratch, store, locations: { records, systemToken } });
    stack.defer(() => app.close());
  });
  afterAll(() => stack.disposeAsync());

  it("is written, read and removed by the system user", async () => {
    const digest = digestOf("one");
    const headers = basic(systemToken);
    const put = await app.inject({ method: "PUT", url: path(digest, "/host-1"), headers, payload: { url: "http://10.0.0.1:5001" } });
    expect(put.statusCode).toBe(204);
    const found = await app.inject({ url: path(digest), headers });
    expect(found.json()).toEqual({ locations: [{ host: "host-1", url: "http://10.0.0.1:5001", atMs: expect.any(Number) }] });
    expect((await app.inject({ method: "DELETE", url: path(digest, "/host-1"), headers })).statusCode).toBe(204);
    expect((await app.inject({ url: path(digest), headers })).json()).toEqual({ locations: [] });
  });

  it("is nobody else's to read or write, and takes nothing but hosts and addresses", async () => {
    const digest = digestOf("two");
    const put = (headers: Record<string, string>, payload: object, url = path(digest, "/host-1")) =>
      app.inject({ method: "PUT", url, headers, payload }).then(({ statusCode }) => statusCode);
    const url = "http://10.0.0.1:5001";
    expect(await put({}, { url })).toBe(401);
    expect(await put(basic("wrong"), { url })).toBe(401);
    expect(await put(basic(systemToken, "somebody"), { url })).toBe(401);
    expect((await app.inject({ url: path(digest) })).statusCode).toBe(401);
    expect(await put(basic(systemToken), { url: "file:///etc/passwd" })).toBe(400);
    expect(await put(basic(systemToken), { url }, path(digest, "/Host%2f1"))).toBe(404);
    expect(await put(basic(systemToken), { url }, path("sha256:1", "/host-1"))).toBe(404);
    expect(await scratch.keys("locations/")).toEqual([]);
  });

  it("is over when it is a week old, and goes when it is looked up or swept", async () => {
    const [looked, swept] = [digestOf("looked up"), digestOf("swept")];
    const location = { host: "host-1", url: "http://10.0.0.1:5001", atMs: Date.now() - locationLifeMs - 1 };
    await records.put(repository, looked, location, signal);
    expect(await records.find(repository, looked, signal)).toEqual([]);
    expect(await scratch.keys("locations/")).toEqual([]);
    await records.put(repository, swept, { ...location, atMs: Date.now() }, signal);
    expect(await sweepLocations(createBucket(scratch), Date.now(), signal)).toBe(0);
    expect(await sweepLocations(createBucket(scratch), Date.now() + locationLifeMs + 60_000, signal)).toBe(1);
    expect(await scratch.keys("locations/")).toEqual([]);
  });
});
