import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { deferred } from "../../../config/deferred.ts";
import { type BlobFetches, type Keeper, type NamedSource, createBlobFetches } from "../../../mirror/pull/blob-fetches.ts";
import { firstOf } from "../../../mirror/pull/readable-store.ts";
import { digestOf } from "../../../oci/digest.ts";
import { DistributionError } from "../../../oci/errors.ts";
import { parseRepository } from "../../../oci/repository.ts";
import type { BlobContent } from "../../../oci/store.ts";

const bytes = randomBytes(300_000);
const digest = digestOf(bytes);
const repository = parseRepository("acme/web");
const never = new AbortController().signal;

type Script = {
  readonly content?: Buffer;
  /** breaks off after so many bytes of its first answer */
  readonly breaksAfterBytes?: number;
  readonly hasRanges?: boolean;
  /** held back until then */
  readonly until?: Promise<void>;
  readonly absent?: boolean;
};

function source(name: string, script: Script = {}): NamedSource & { readonly asked: number[] } {
  const content = script.content ?? bytes;
  const asked: number[] = [];
  async function* send(first: number, breaks: number): AsyncGenerator<Buffer> {
    for (let at = first; at < content.length; at += 10_000) {
      if (at - first >= breaks) throw new Error(`${name} broke off`);
      if (at > first) await script.until;
      yield content.subarray(at, at + 10_000);
    }
  }
  const store = firstOf([]);
  const read: typeof store.blobs.read = async (_repository, _digest, range) => {
    if (script.absent === true) throw new DistributionError("BLOB_UNKNOWN");
    const first = script.hasRanges === false ? 0 : (range?.first ?? 0);
    asked.push(first);
    const body = Readable.from(send(first, asked.length === 1 ? (script.breaksAfterBytes ?? Infinity) : Infinity), { objectMode: false });
    const part = range === undefined || script.hasRanges === false ? {} : { range: { first, last: content.length - 1 } };
    return { sizeBytes: content.length, ...part, body };
  };
  return { name, store: { ...store, blobs: { ...store.blobs, read } }, asked };
}

const whole = async ({ body }: BlobContent): Promise<Buffer> => Buffer.concat((await body.toArray()) as Buffer[]);

describe("fetches of blobs", () => {
  let dir: string;
  let fetches: BlobFetches;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), "fetches-"));
    fetches = createBlobFetches({ dir });
  });
  afterAll(async () => {
    await fetches[Symbol.asyncDispose]();
    expect(await readdir(dir)).toEqual([]);
    await rm(dir, { recursive: true });
  });
  let scopes = 0;
  const requestOf = (sources: readonly NamedSource[], keep?: () => Promise<Keeper | undefined>) => ({
    scope: `org-${(scopes += 1)}`,
    repository,
    digest,
    sources,
    ...(keep === undefined ? {} : { keep }),
  });

  it("ask a source once for ten who want it at once, and give a part to an eleventh", async () => {
    const go = deferred<void>();
    const upstream = source("upstream", { until: go.promise });
    const request = requestOf([upstream]);
    const contents = await Promise.all(Array.from({ length: 10 }, () => fetches.read(request, undefined, never)));
    const part = await fetches.read(request, { first: 100, last: 299_999 }, never);
    go.resolve();
    for (const content of contents) expect((await whole(content)).equals(bytes)).toBe(true);
    expect(part.range).toEqual({ first: 100, last: 299_999 });
    expect((await whole(part)).equals(bytes.subarray(100))).toBe(true);
    expect(upstream.asked).toEqual([0]);
  });

  it.each([true, false])("go on with the next source where the first broke off (with ranges: %s)", async (hasRanges) => {
    const broken = source("peer", { breaksAfterBytes: 100_000 });
    const next = source("upstream", { hasRanges });
    expect((await whole(await fetches.read(requestOf([broken, next]), undefined, never))).equals(bytes)).toBe(true);
    expect(broken.asked).toEqual([0]);
    expect(next.asked).toEqual([hasRanges ? 100_000 : 0]);
  });

  it("ask the only source again for the rest", async () => {
    const only = source("upstream", { breaksAfterBytes: 50_000 });
    expect((await whole(await fetches.read(requestOf([only]), undefined, never))).equals(bytes)).toBe(true);
    expect(only.asked).toEqual([0, 50_000]);
  });

  it("never hand out all of wrong bytes, do not keep them, and turn to another source after", async () => {
    const ends: string[] = [];
    const keeper: Keeper = {
      write: async () => undefined,
      commit: async () => void ends.push("commit"),
      abort: async () => void ends.push("abort"),
    };
    const liar = source("peer", { content: randomBytes(bytes.length) });
    const honest = source("upstream");
    const sources = [liar, honest];
    await expect(
      whole(
        await fetches.read(
          requestOf(sources, async () => keeper),
          undefined,
          never,
        ),
      ),
    ).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect.poll(() => ends).toEqual(["abort"]);
    expect((await whole(await fetches.read(requestOf(sources), undefined, never))).equals(bytes)).toBe(true);
    expect(liar.asked).toEqual([0]);
  });

  it("go on for the others when one goes away, and end when nobody is left", async () => {
    const go = deferred<void>();
    const upstream = source("upstream", { until: go.promise });
    const request = requestOf([upstream]);
    const [stays, leaves] = [await fetches.read(request, undefined, never), await fetches.read(request, undefined, never)];
    leaves.body.destroy();
    go.resolve();
    expect((await whole(stays)).equals(bytes)).toBe(true);

    const stuck = requestOf([source("upstream", { until: new Promise(() => undefined) })]);
    const alone = new AbortController();
    await fetches.read(stuck, undefined, alone.signal);
    expect(fetches.isFetching(stuck)).toBe(true);
    alone.abort();
    expect(fetches.isFetching(stuck)).toBe(false);
  });

  it("are not slowed by a reader who does not read", async () => {
    const go = deferred<void>();
    const request = requestOf([source("upstream", { until: go.promise })]);
    const slow = await fetches.read(request, undefined, never);
    const quick = await fetches.read(request, undefined, never);
    go.resolve();
    expect((await whole(quick)).equals(bytes)).toBe(true);
    expect((await whole(slow)).equals(bytes)).toBe(true);
  });

  it("take wrong bytes from nobody who can still wait: the next source is asked within the same fetch, and kept anew", async () => {
    const ends: string[] = [];
    const kept: Buffer[] = [];
    const keep = async (): Promise<Keeper> => {
      const own: Uint8Array[] = [];
      return {
        write: async (chunk) => void own.push(chunk),
        commit: async () => void kept.push(Buffer.concat(own)),
        abort: async () => void ends.push("abort"),
      };
    };
    const sources = [source("another peer", { content: randomBytes(bytes.length) }), source("upstream")];
    await fetches.receive(requestOf(sources, keep), never);
    expect(kept).toHaveLength(1);
    expect(kept[0]?.equals(bytes)).toBe(true);
    expect(ends).toEqual(["abort", "abort"]);
  });

  it("hold a small blob back until it is right", async () => {
    const config = randomBytes(20_000);
    const sources = [source("peer", { content: randomBytes(config.length) }), source("upstream", { content: config })];
    const content = await fetches.read({ ...requestOf(sources), digest: digestOf(config) }, undefined, never);
    expect((await whole(content)).equals(config)).toBe(true);
  });

  it("ask the only source again after a pause when it refuses for a while", async () => {
    const only = source("upstream", { breaksAfterBytes: 50_000 });
    let calls = 0;
    const read: typeof only.store.blobs.read = async (...args) => {
      calls += 1;
      if (calls === 2 || calls === 3) throw new DistributionError("UNAVAILABLE");
      return only.store.blobs.read(...args);
    };
    await using patient = createBlobFetches({ dir, pausesMs: [1, 1, 1] });
    const flaky = { name: "upstream", store: { ...only.store, blobs: { ...only.store.blobs, read } } };
    expect((await whole(await patient.read(requestOf([flaky]), undefined, never))).equals(bytes)).toBe(true);
    expect(only.asked).toEqual([0, 50_000]);
  });

  it("leave a source that sends nothing any more for the next", async () => {
    const silent = source("peer");
    const read: typeof silent.store.blobs.read = async () => {
      const body = new PassThrough();
      body.write(bytes.subarray(0, 1_000));
      return { sizeBytes: bytes.length, body };
    };
    const next = source("upstream");
    await using impatient = createBlobFetches({ dir, stallMs: 50 });
    const stuck = { name: "peer", store: { ...silent.store, blobs: { ...silent.store.blobs, read } } };
    expect((await whole(await impatient.read(requestOf([stuck, next]), undefined, never))).equals(bytes)).toBe(true);
    expect(next.asked).toEqual([1_000]);
  });

  it("do not take what has another size than its manifest says", async () => {
    const sources = [source("peer", { content: randomBytes(10) }), source("upstream")];
    const request = { ...requestOf(sources), sizeBytes: bytes.length };
    expect((await whole(await fetches.read(request, undefined, never))).equals(bytes)).toBe(true);
    await expect(fetches.read({ ...requestOf([source("peer")]), sizeBytes: 5 }, undefined, never)).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });

  it("pass bytes through while the disk is short, and say so to who wants them kept", async () => {
    const space = { require: () => Promise.reject(new DistributionError("DISK_FULL")) };
    await using short = createBlobFetches({ dir, space });
    expect((await whole(await short.read(requestOf([source("upstream")]), undefined, never))).equals(bytes)).toBe(true);
    const wrong = await short.read(requestOf([source("upstream", { content: randomBytes(bytes.length) })]), undefined, never);
    await expect(whole(wrong)).rejects.toThrow("sent");
    await expect(short.receive(requestOf([source("upstream")]), never)).rejects.toMatchObject({ code: "DISK_FULL" });
  });

  it("end with that error when the disk gets short on the way", async () => {
    const large = randomBytes(5 * 1024 * 1024);
    let asked = 0;
    const space = {
      require: async () => {
        if ((asked += 1) > 1) throw new DistributionError("DISK_FULL");
      },
    };
    await using short = createBlobFetches({ dir, space });
    const request = { ...requestOf([source("upstream", { content: large })]), digest: digestOf(large) };
    await expect(short.receive(request, never)).rejects.toMatchObject({ code: "DISK_FULL" });
  });

  it("take no more of the disk together than they may, and give back what they took", async () => {
    const go = deferred<void>();
    await using small = createBlobFetches({ dir, totalBytes: 400_000 });
    const content = await small.read(requestOf([source("upstream", { until: go.promise })]), undefined, never);
    await expect(small.receive(requestOf([source("upstream")]), never)).rejects.toMatchObject({ code: "DISK_FULL" });
    go.resolve();
    await whole(content);
    await vi.waitFor(() => small.receive(requestOf([source("upstream")]), never));
  });

  it("say absent when all sources do, and what failed when one cannot tell", async () => {
    const absent = source("peer", { absent: true });
    await expect(fetches.read(requestOf([absent]), undefined, never)).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    const store = firstOf([]);
    const down = {
      name: "upstream",
      store: { ...store, blobs: { ...store.blobs, read: () => Promise.reject(new DistributionError("UNAVAILABLE")) } },
    };
    await expect(fetches.read(requestOf([absent, down]), undefined, never)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
