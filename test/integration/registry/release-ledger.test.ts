import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { type ReleaseLedger, ReleaseConflictError, createReleaseLedger } from "../../../registry/releases/release-ledger.ts";
import type { Release } from "../../../workflows/types.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(60_000);

const release = (version: number, key: string, more: Partial<Release> = {}): Release => ({
  org: "acme",
  app: "shop",
  version,
  key,
  runId: `run-${key}`,
  image: { name: "registry.internal/acme/shop", digest: digestOf(key) },
  source: { repository: parseRepository("acme/shop-source"), digest: digestOf("source"), sizeBytes: 6 },
  config: {
    app: "shop",
    env: { B: "2", A: "1" },
    build: { dockerfile: "Dockerfile", args: {} },
    groups: [],
    waitTimeoutMs: 1,
    killTimeoutMs: 1,
    killSignal: "SIGTERM",
  },
  createdAtMs: 1,
  ...more,
});

describe("release ledger", () => {
  let scratch: ScratchBucket;
  let ledger: ReleaseLedger;

  beforeAll(async () => {
    scratch = await openScratchBucket();
    ledger = createReleaseLedger(scratch);
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  it("finds a release by its idempotency key, whatever characters the key has", async () => {
    const first = release(1, "ci/../42 ü");
    await ledger.record(first, signal);
    expect(await ledger.findByKey("acme", "shop", "ci/../42 ü", signal)).toEqual(first);
    expect(await ledger.findByKey("acme", "shop", "other", signal)).toBeUndefined();
    expect(await ledger.findByKey("acme", "other", "ci/../42 ü", signal)).toBeUndefined();
  });

  it("takes the same release again, in whatever order its fields come", async () => {
    const second = release(2, "two");
    await ledger.record(second, signal);
    const { config, ...rest } = second;
    await ledger.record({ config: { ...config, env: { A: "1", B: "2" } }, ...rest }, signal);
  });

  it("refuses another release under a version or a key that is taken", async () => {
    await ledger.record(release(3, "three"), signal);
    await expect(ledger.record(release(3, "four"), signal)).rejects.toThrow(ReleaseConflictError);
    await expect(ledger.record(release(4, "three"), signal)).rejects.toThrow(ReleaseConflictError);
    await expect(ledger.record(release(3, "three", { createdAtMs: 2 }), signal)).rejects.toThrow(ReleaseConflictError);
    expect((await ledger.list("acme", "shop", signal)).map(({ version }) => version)).toEqual([1, 2, 3]);
  });

  it("lets one of many win a version", async () => {
    const results = await Promise.allSettled(Array.from({ length: 8 }, (_, at) => ledger.record(release(10, `race-${at}`), signal)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  it("lists by version, oldest first", async () => {
    await ledger.record(release(100, "hundred"), signal);
    await ledger.record(release(20, "twenty"), signal);
    expect((await ledger.list("acme", "shop", signal)).map(({ version }) => version)).toEqual([1, 2, 3, 10, 20, 100]);
    expect(await ledger.list("acme", "nothing", signal)).toEqual([]);
  });

  it.each(["../acme", "", "a/b", "A"])("makes no key for the org %j", async (org) => {
    await expect(ledger.record(release(1, "x", { org }), signal)).rejects.toThrow(SyntaxError);
  });
});
