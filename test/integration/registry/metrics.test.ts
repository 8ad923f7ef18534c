import { randomBytes, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { type DistributionClient, createDistributionClient } from "../../../oci/distribution-client.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { type RegistryProcess, createRegistryProcess } from "../../support/registry-process.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

describe("/metrics", () => {
  const signal = AbortSignal.timeout(100_000);
  let scratch: ScratchBucket;
  let registry: RegistryProcess;
  let client: DistributionClient;

  beforeAll(async () => {
    scratch = await openScratchBucket();
    registry = await createRegistryProcess({ bucket: scratch.bucket, s3: inject("s3"), toolsBinDir: inject("toolsBinDir") });
    await registry.start();
    client = createDistributionClient({ baseUrl: registry.url });
  });
  afterAll(async () => {
    client[Symbol.dispose]();
    await registry[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
  });

  const scrape = async (): Promise<Map<string, number>> => {
    const { host, port } = registry.settings.registry.metrics!;
    const text = await (await fetch(`http://${host}:${port}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
  };
  const push = (repository: string, bytes: Buffer) =>
    client.pushBlob(
      parseRepository(repository),
      { digest: digestOf(bytes), sizeBytes: bytes.length, open: (offset) => Readable.from([bytes.subarray(offset)]) },
      signal,
    );

  it("counts requests, bytes, uploads and calls of S3, and tells of the process and its buffers", async () => {
    const bytes = randomBytes(300_000);
    const before = await scrape();
    await push(`metrics/${randomUUID()}`, bytes);
    await fetch(`${registry.url}/v2/metrics/absent/manifests/v1`);
    await expect
      .poll(async () => (await scrape()).get('slipway_registry_requests_total{method="GET",operation="readManifest",status="404"}'))
      .toBe(1);
    const after = await scrape();
    const rise = (series: string) => (after.get(series) ?? Number.NaN) - (before.get(series) ?? 0);
    expect(rise('slipway_registry_requests_total{method="POST",operation="startUpload",status="202"}')).toBe(1);
    expect(rise('slipway_registry_requests_total{method="PUT",operation="finishUpload",status="201"}')).toBe(1);
    expect(rise('slipway_registry_request_duration_seconds_count{method="PUT",operation="finishUpload"}')).toBe(1);
    expect(rise("slipway_registry_received_bytes_total")).toBe(bytes.length);
    expect(rise("slipway_registry_sent_bytes_total")).toBeGreaterThan(100);
    expect(rise('slipway_registry_uploads_total{event="started"}')).toBe(1);
    expect(rise('slipway_registry_uploads_total{event="finished"}')).toBe(1);
    expect(rise('slipway_registry_s3_calls_total{operation="PutObject",outcome="ok"}')).toBeGreaterThan(1);
    expect(rise('slipway_registry_s3_call_duration_seconds_count{operation="PutObject"}')).toBeGreaterThan(1);
    expect(after.get('slipway_registry_part_buffer_bytes{state="lent"}')).toBe(0);
    expect(after.get('slipway_registry_part_buffer_bytes{state="most"}')).toBeGreaterThan(0);
    expect(after.get("slipway_registry_upload_bodies")).toBe(0);
    expect(after.get("process_resident_memory_bytes")).toBeGreaterThan(0);
  });

  it("has no more series after a thousand names, ids and methods than before", async () => {
    const ask = async (index: number) => {
      await fetch(`${registry.url}/v2/many/${randomUUID()}/manifests/t${index}`, { headers: { "user-agent": randomUUID() } });
      await fetch(`${registry.url}/${randomUUID()}`);
      await fetch(`${registry.url}/v2/${randomUUID()}/blobs/nonsense-${index}`);
    };
    await ask(0);
    await expect
      .poll(async () => (await scrape()).get('slipway_registry_requests_total{method="GET",operation="none",status="400"}'))
      .toBe(1);
    const before = [...(await scrape()).keys()];
    for (let round = 0; round < 50; round += 1) await Promise.all(Array.from({ length: 20 }, (_, index) => ask(index)));
    const after = [...(await scrape()).keys()];
    // of Node's own, some come and go with what happens to be open
    const ours = (series: string) => series.startsWith("slipway_");
    expect(after.filter(ours).toSorted()).toEqual(before.filter(ours).toSorted());
    expect(after.join("\n")).not.toContain("many/");
  }, 60_000);

  it("is not served where images are, and nothing else is served there", async () => {
    expect((await fetch(`${registry.url}/metrics`)).status).toBe(404);
    const { host, port } = registry.settings.registry.metrics!;
    expect((await fetch(`http://${host}:${port}/v2/`)).status).toBe(404);
  });

  it("names each request in the log by its id, trace, client and error, without its query", async () => {
    const [traceId, requestId] = [randomBytes(16).toString("hex"), `it-${randomUUID()}`];
    const headers = {
      traceparent: `00-${traceId}-${randomBytes(8).toString("hex")}-01`,
      "x-request-id": requestId,
      "user-agent": `test/${"x".repeat(1000)}`,
      authorization: "Bearer sUp3r-s3cret",
    };
    const answer = await fetch(`${registry.url}/v2/logged/app/manifests/absent?X-Amz-Signature=abcdef0123456789`, { headers });
    expect(answer.headers.get("x-request-id")).toBe(requestId);
    type Line = Record<string, unknown>;
    const lineOf = async (id: string): Promise<Line | undefined> =>
      (await registry.log())
        .split("\n")
        .flatMap((text) => (text.startsWith("{") ? [JSON.parse(text) as Line] : []))
        .find((line) => line.requestId === id);
    await expect
      .poll(() => lineOf(requestId))
      .toMatchObject({
        traceId,
        repository: "logged/app",
        operation: "readManifest",
        status: 404,
        errorCode: "MANIFEST_UNKNOWN",
        clientAddress: "127.0.0.1",
      });
    expect(((await lineOf(requestId))!.userAgent as string).length).toBe(200);
    const log = await registry.log();
    expect(log).not.toContain("s3cret");
    expect(log).not.toContain("abcdef0123456789");
    const forged = await fetch(`${registry.url}/v2/`, { headers: { "x-request-id": 'a" onload=' } });
    expect(forged.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });
});
