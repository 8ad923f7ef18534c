import { setMaxListeners } from "node:events";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { parseManifestReference } from "../../oci/reference.ts";
import { type Repository, parseRepository } from "../../oci/repository.ts";
import type { DistributionStore } from "../../oci/store.ts";
import { describeOptionalParts } from "./optional-parts.ts";

const signal = AbortSignal.timeout(15 * 60_000);
// one signal stands for the requests of all these tests
setMaxListeners(0, signal);
const mebibyte = 1024 * 1024;
/** what a push of any size may add to the process beyond what the runtime takes for itself */
const memoryAllowanceBytes = 400 * mebibyte;

const freshRepository = (): Repository => parseRepository(`conformance/${randomUUID()}`);

/** A second instance over the same storage; `close` leaves the storage as it is. */
export type OtherStore = { readonly store: DistributionStore; close(): Promise<void> };

/** `hasSha512`: whether what is below takes digests of sha512, which are refused otherwise. */
export type StoreTraits = { readonly hasSha512?: boolean; readonly isMemoryMeasured?: boolean };

/** What every store of the Distribution routes must do; each implementation calls this in a test of its own. */
export function describeDistributionStore(
  name: string,
  open: () => Promise<{ store: DistributionStore; openAnother?: () => Promise<OtherStore>; close: () => Promise<void> }>,
  { hasSha512 = true, isMemoryMeasured = true }: StoreTraits = {},
): void {
  describe(`${name} as a distribution store`, () => {
    let store: DistributionStore;
    let openAnother: (() => Promise<OtherStore>) | undefined;
    let close: () => Promise<void> = async () => {};

    beforeAll(async () => {
      ({ store, openAnother, close } = await open());
    });
    afterAll(() => close());

    const push = async (repository: Repository, bytes: Buffer, digest: Digest = digestOf(bytes)): Promise<Descriptor> => {
      const { id } = await store.uploads.start(repository, signal);
      await store.uploads.append(repository, id, undefined, bodyOf(bytes), signal);
      return store.uploads.finish(repository, id, digest, signal);
    };
    const read = async (repository: Repository, digest: Digest, range?: { first: number; last?: number }): Promise<Buffer> => {
      const { body } = await store.blobs.read(repository, digest, range, signal);
      return collect(body);
    };
    const pushImage = async (repository: Repository, tag: string): Promise<{ digest: Digest; bytes: Buffer }> => {
      const config = await push(repository, Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", tag })));
      const layer = await push(repository, randomBytes(1000));
      const bytes = imageManifest(config, [layer]);
      const { digest } = await store.manifests.write(repository, parseManifestReference(tag), mediaTypes.imageManifest, bytes, signal);
      return { digest, bytes };
    };

    describe("blobs", () => {
      it("gives back the bytes that were pushed, under their digest", async () => {
        const repository = freshRepository();
        const bytes = randomBytes(100_000);
        expect(await push(repository, bytes)).toMatchObject({ digest: digestOf(bytes), size: bytes.length });
        expect(await store.blobs.stat(repository, digestOf(bytes), signal)).toMatchObject({ digest: digestOf(bytes), size: bytes.length });
        expect((await read(repository, digestOf(bytes))).equals(bytes)).toBe(true);
      });

      it("holds the empty blob", async () => {
        const repository = freshRepository();
        const { id } = await store.uploads.start(repository, signal);
        expect(await store.uploads.finish(repository, id, digestOf(""), signal)).toMatchObject({ size: 0 });
        expect(await store.blobs.stat(repository, digestOf(""), signal)).toMatchObject({ size: 0 });
        expect((await read(repository, digestOf(""))).length).toBe(0);
      });

      it.skipIf(hasSha512)("refuses sha512 digests, and stores nothing", async () => {
        const repository = freshRepository();
        const bytes = randomBytes(5000);
        await expectCode(push(repository, bytes, digestOf(bytes, "sha512")), "DIGEST_INVALID");
        await expectCode(read(repository, digestOf(bytes, "sha512")), "BLOB_UNKNOWN");
      });

      it.runIf(hasSha512)("takes sha512 digests", async () => {
        const repository = freshRepository();
        const bytes = randomBytes(5000);
        await push(repository, bytes, digestOf(bytes, "sha512"));
        expect((await read(repository, digestOf(bytes, "sha512"))).equals(bytes)).toBe(true);
      });

      it.each(["sha256", "sha512"] as const)("stores nothing under a wrong %s digest", async (algorithm) => {
        const repository = freshRepository();
        const claimed = digestOf(randomBytes(8), algorithm);
        const bytes = randomBytes(2000);
        await expectCode(push(repository, bytes, claimed), "DIGEST_INVALID");
        expect(await store.blobs.stat(repository, claimed, signal)).toBeUndefined();
        expect(await store.blobs.stat(repository, digestOf(bytes), signal)).toBeUndefined();
        await expectCode(read(repository, claimed), "BLOB_UNKNOWN");
      });

      it("knows nothing of a repository or a digest that was never pushed", async () => {
        const repository = freshRepository();
        expect(await store.blobs.stat(repository, digestOf("never"), signal)).toBeUndefined();
        await expectCode(read(repository, digestOf("never")), "BLOB_UNKNOWN");
      });

      it("keeps a blob to its repository", async () => {
        const [mine, theirs] = [freshRepository(), freshRepository()];
        const bytes = randomBytes(3000);
        await push(mine, bytes);
        expect(await store.blobs.stat(theirs, digestOf(bytes), signal)).toBeUndefined();
        await expectCode(read(theirs, digestOf(bytes)), "BLOB_UNKNOWN");
      });

      it("takes the same blob into a second repository", async () => {
        const [first, second] = [freshRepository(), freshRepository()];
        const bytes = randomBytes(3000);
        await push(first, bytes);
        await push(second, bytes);
        expect((await read(second, digestOf(bytes))).equals(bytes)).toBe(true);
        expect((await read(first, digestOf(bytes))).equals(bytes)).toBe(true);
      });

      it("mounts what the other repository has, and nothing else", async () => {
        const [from, to] = [freshRepository(), freshRepository()];
        const bytes = randomBytes(3000);
        await push(from, bytes);
        expect(await store.blobs.mount(to, digestOf("absent"), from, signal)).toBeUndefined();
        expect(await store.blobs.mount(to, digestOf(bytes), freshRepository(), signal)).toBeUndefined();
        expect(await store.blobs.mount(to, digestOf(bytes), from, signal)).toMatchObject({ digest: digestOf(bytes), size: bytes.length });
        expect((await read(to, digestOf(bytes))).equals(bytes)).toBe(true);
      });

      it.each([
        ["the middle", { first: 10, last: 19 }, { first: 10, last: 19 }],
        ["the first byte", { first: 0, last: 0 }, { first: 0, last: 0 }],
        ["an open end", { first: 990 }, { first: 990, last: 999 }],
        ["more than there is", { first: 500, last: 99_999 }, { first: 500, last: 999 }],
      ])("reads a range: %s", async (_what, range, served) => {
        const repository = freshRepository();
        const bytes = randomBytes(1000);
        await push(repository, bytes);
        const content = await store.blobs.read(repository, digestOf(bytes), range, signal);
        expect(content).toMatchObject({ sizeBytes: 1000, range: served });
        expect((await collect(content.body)).equals(bytes.subarray(served.first, served.last + 1))).toBe(true);
      });

      it("refuses a range beyond the end", async () => {
        const repository = freshRepository();
        await push(repository, Buffer.from("0123456789"));
        await expectCode(read(repository, digestOf("0123456789"), { first: 10 }), "RANGE_INVALID");
      });
    });

    describe("uploads", () => {
      it("puts chunks together in the order of their offsets", async () => {
        const repository = freshRepository();
        const bytes = randomBytes(30_000);
        const { id } = await store.uploads.start(repository, signal);
        for (const offset of [0, 10_000, 20_000]) {
          const chunk = Readable.from([bytes.subarray(offset, offset + 10_000)]);
          expect(await store.uploads.append(repository, id, offset, chunk, signal)).toEqual({ id, receivedBytes: offset + 10_000 });
        }
        await store.uploads.finish(repository, id, digestOf(bytes), signal);
        expect((await read(repository, digestOf(bytes))).equals(bytes)).toBe(true);
      });

      it("refuses a chunk out of order and goes on after it", async () => {
        const repository = freshRepository();
        const { id } = await store.uploads.start(repository, signal);
        await store.uploads.append(repository, id, 0, Readable.from([Buffer.from("abc")]), signal);
        await expectCode(store.uploads.append(repository, id, 1, Readable.from([Buffer.from("x")]), signal), "RANGE_INVALID");
        await expectCode(store.uploads.append(repository, id, 7, Readable.from([Buffer.from("x")]), signal), "RANGE_INVALID");
        expect(await store.uploads.status(repository, id, signal)).toEqual({ id, receivedBytes: 3 });
        await store.uploads.append(repository, id, 3, Readable.from([Buffer.from("def")]), signal);
        expect(await store.uploads.finish(repository, id, digestOf("abcdef"), signal)).toMatchObject({ size: 6 });
      });

      it("resumes where a body broke off", async () => {
        const repository = freshRepository();
        const bytes = randomBytes(500_000);
        const { id } = await store.uploads.start(repository, signal);
        const broken = Readable.from(
          (async function* () {
            yield bytes.subarray(0, 200_000);
            await new Promise((resolve) => setImmediate(resolve));
            throw new Error("the client is gone");
          })(),
        );
        await expect(store.uploads.append(repository, id, 0, broken, signal)).rejects.toThrow();
        const { receivedBytes } = await store.uploads.status(repository, id, signal);
        expect(receivedBytes).toBeLessThanOrEqual(200_000);
        await store.uploads.append(repository, id, receivedBytes, Readable.from([bytes.subarray(receivedBytes)]), signal);
        await store.uploads.finish(repository, id, digestOf(bytes), signal);
        expect((await read(repository, digestOf(bytes))).equals(bytes)).toBe(true);
      });

      it("stops taking a body in when the request is aborted", async () => {
        const repository = freshRepository();
        const { id } = await store.uploads.start(repository, signal);
        const controller = new AbortController();
        let produced = 0;
        const endless = Readable.from(
          (async function* () {
            for (;;) {
              produced += 1;
              if (produced === 20) controller.abort(new Error("enough"));
              yield Buffer.alloc(1000);
              await new Promise((resolve) => setImmediate(resolve));
            }
          })(),
        );
        await expect(store.uploads.append(repository, id, 0, endless, controller.signal)).rejects.toThrow();
        expect(endless.destroyed).toBe(true);
        await store.uploads.abort(repository, id, signal);
      });

      it("forgets an aborted session", async () => {
        const repository = freshRepository();
        const { id } = await store.uploads.start(repository, signal);
        await store.uploads.append(repository, id, 0, Readable.from([Buffer.from("abc")]), signal);
        await store.uploads.abort(repository, id, signal);
        await expectCode(store.uploads.status(repository, id, signal), "BLOB_UPLOAD_UNKNOWN");
        await expectCode(store.uploads.finish(repository, id, digestOf("abc"), signal), "BLOB_UPLOAD_UNKNOWN");
        expect(await store.blobs.stat(repository, digestOf("abc"), signal)).toBeUndefined();
      });

      it("keeps a session to its repository, and knows no invented one", async () => {
        const [mine, theirs] = [freshRepository(), freshRepository()];
        const { id } = await store.uploads.start(mine, signal);
        await expectCode(store.uploads.status(theirs, id, signal), "BLOB_UPLOAD_UNKNOWN");
        await expectCode(store.uploads.append(theirs, id, 0, Readable.from([Buffer.from("x")]), signal), "BLOB_UPLOAD_UNKNOWN");
        await expectCode(store.uploads.finish(theirs, id, digestOf(""), signal), "BLOB_UPLOAD_UNKNOWN");
        await expectCode(store.uploads.abort(theirs, id, signal), "BLOB_UPLOAD_UNKNOWN");
        await expectCode(store.uploads.status(mine, randomUUID(), signal), "BLOB_UPLOAD_UNKNOWN");
        await store.uploads.abort(mine, id, signal);
      });

      it.runIf(hasSha512).each(["sha256", "sha512"] as const)(
        "takes a blob whose upload began for %s under either algorithm",
        async (algorithm) => {
          const repository = freshRepository();
          for (const wanted of ["sha256", "sha512"] as const) {
            const bytes = randomBytes(20_000);
            const { id } = await store.uploads.start(repository, signal, algorithm);
            await store.uploads.append(repository, id, 0, bodyOf(bytes), signal);
            await store.uploads.finish(repository, id, digestOf(bytes, wanted), signal);
            expect((await read(repository, digestOf(bytes, wanted))).equals(bytes)).toBe(true);
          }
        },
      );

      it("goes on with an upload at another instance, chunk by chunk", async (context) => {
        if (openAnother === undefined) return context.skip();
        const other = await openAnother();
        try {
          const repository = freshRepository();
          const bytes = randomBytes(40_000);
          const { id } = await store.uploads.start(repository, signal);
          for (const [at, { uploads }] of [store, other.store, store, other.store].entries()) {
            const [offset, end] = [at * 10_000, (at + 1) * 10_000];
            await uploads.append(repository, id, at < 2 ? undefined : offset, Readable.from([bytes.subarray(offset, end)]), signal);
            for (const { uploads: asked } of [store, other.store]) {
              expect(await asked.status(repository, id, signal)).toEqual({ id, receivedBytes: end });
            }
          }
          await store.uploads.finish(repository, id, digestOf(bytes), signal);
          expect((await read(repository, digestOf(bytes))).equals(bytes)).toBe(true);
          await expectCode(other.store.uploads.status(repository, id, signal), "BLOB_UPLOAD_UNKNOWN");
          const aborted = await store.uploads.start(repository, signal);
          await other.store.uploads.abort(repository, aborted.id, signal);
          await expectCode(store.uploads.append(repository, aborted.id, 0, bodyOf(bytes), signal), "BLOB_UPLOAD_UNKNOWN");
        } finally {
          await other.close();
        }
      });

      it("takes one digest from many clients at once", async () => {
        const repository = freshRepository();
        const bytes = randomBytes(200_000);
        const pushed = await Promise.all(Array.from({ length: 8 }, () => push(repository, bytes)));
        expect(new Set(pushed.map(({ digest }) => digest))).toEqual(new Set([digestOf(bytes)]));
        expect((await read(repository, digestOf(bytes))).equals(bytes)).toBe(true);
      });

      it.runIf(isMemoryMeasured)("streams big blobs in and out, several at once, in bounded memory", async () => {
        const repository = freshRepository();
        const baseline = process.memoryUsage().rss;
        let peakBytes = 0;
        const timer = setInterval(() => (peakBytes = Math.max(peakBytes, process.memoryUsage().rss)), 20);
        try {
          await Promise.all(
            [1, 2, 3].map(async (seed) => {
              const { id } = await store.uploads.start(repository, signal);
              await store.uploads.append(repository, id, 0, Readable.from(pattern(seed, 192 * mebibyte)), signal);
              const digest = await digestOfPattern(seed, 192 * mebibyte);
              await store.uploads.finish(repository, id, digest, signal);
              const { body } = await store.blobs.read(repository, digest, undefined, signal);
              const hash = createHash("sha256");
              for await (const chunk of body as AsyncIterable<Buffer>) hash.update(chunk);
              expect(`sha256:${hash.digest("hex")}`).toBe(digest);
            }),
          );
        } finally {
          clearInterval(timer);
        }
        expect(peakBytes - baseline).toBeLessThan(memoryAllowanceBytes);
      });
    });

    describe("manifests", () => {
      it("gives back a manifest's exact bytes, by tag and by digest", async () => {
        const repository = freshRepository();
        const { digest, bytes } = await pushImage(repository, "v1");
        for (const reference of ["v1", digest].map(parseManifestReference)) {
          const descriptor = { mediaType: mediaTypes.imageManifest, digest, size: bytes.length };
          expect(await store.manifests.resolve(repository, reference, signal)).toEqual(descriptor);
          const content = await store.manifests.read(repository, reference, signal);
          expect(content?.descriptor).toEqual(descriptor);
          expect(Buffer.from(content!.bytes).equals(bytes)).toBe(true);
        }
      });

      it("refuses a manifest that names a blob the repository lacks", async () => {
        const [mine, theirs] = [freshRepository(), freshRepository()];
        const config = await push(mine, Buffer.from("{}"));
        const foreign = await push(theirs, randomBytes(50));
        const bytes = imageManifest(config, [foreign]);
        const written = store.manifests.write(mine, parseManifestReference("v1"), mediaTypes.imageManifest, bytes, signal);
        await expectCode(written, "MANIFEST_BLOB_UNKNOWN");
        expect(await store.manifests.resolve(mine, parseManifestReference("v1"), signal)).toBeUndefined();
        expect(await store.manifests.resolve(mine, parseManifestReference(digestOf(bytes)), signal)).toBeUndefined();
      });

      it("accepts an index only when its manifests are there", async () => {
        const repository = freshRepository();
        const image = await pushImage(repository, "v1");
        const child = { mediaType: mediaTypes.imageManifest, digest: image.digest, size: image.bytes.length };
        const write = (children: Descriptor[]) =>
          store.manifests.write(repository, parseManifestReference("all"), mediaTypes.imageIndex, imageIndex(children), signal);
        await expectCode(write([child, { ...child, digest: digestOf("absent") }]), "MANIFEST_BLOB_UNKNOWN");
        expect(await write([child])).toMatchObject({ mediaType: mediaTypes.imageIndex, digest: digestOf(imageIndex([child])) });
      });

      it("refuses bytes of another digest, another type or no manifest at all", async () => {
        const repository = freshRepository();
        const { bytes } = await pushImage(repository, "v1");
        const write = (reference: string, mediaType: string, body: Buffer) =>
          store.manifests.write(repository, parseManifestReference(reference), mediaType, body, signal);
        await expectCode(write(digestOf("other"), mediaTypes.imageManifest, bytes), "DIGEST_INVALID");
        await expectCode(write("v2", mediaTypes.imageIndex, bytes), "MANIFEST_INVALID");
        await expectCode(write("v2", mediaTypes.imageManifest, Buffer.from("{")), "MANIFEST_INVALID");
        expect(await store.manifests.resolve(repository, parseManifestReference("v2"), signal)).toBeUndefined();
      });

      it("keeps manifests and tags to their repository", async () => {
        const repository = freshRepository();
        const { digest } = await pushImage(repository, "v1");
        const other = freshRepository();
        expect(await store.manifests.read(other, parseManifestReference(digest), signal)).toBeUndefined();
        expect(await store.manifests.read(other, parseManifestReference("v1"), signal)).toBeUndefined();
        expect(await store.manifests.tags(other, {}, signal)).toBeUndefined();
      });

      it("moves a tag, and keeps what it named before under its digest", async () => {
        const repository = freshRepository();
        const before = await pushImage(repository, "latest");
        const after = await pushImage(repository, "latest");
        expect(await store.manifests.resolve(repository, parseManifestReference("latest"), signal)).toMatchObject({ digest: after.digest });
        expect(await store.manifests.read(repository, parseManifestReference(before.digest), signal)).toBeDefined();
      });

      it("lists tags in ASCII order, page by page", async () => {
        const repository = freshRepository();
        const { bytes } = await pushImage(repository, "b");
        for (const tag of ["a", "Z", "a.1", "a-1", "_x", "10", "9"]) {
          await store.manifests.write(repository, parseManifestReference(tag), mediaTypes.imageManifest, bytes, signal);
        }
        const all = ["10", "9", "Z", "_x", "a", "a-1", "a.1", "b"];
        expect(await store.manifests.tags(repository, {}, signal)).toEqual(all);
        expect(await store.manifests.tags(repository, { limit: 3 }, signal)).toEqual(all.slice(0, 3));
        expect(await store.manifests.tags(repository, { limit: 3, last: "Z" }, signal)).toEqual(all.slice(3, 6));
        expect(await store.manifests.tags(repository, { last: "a-0" }, signal)).toEqual(all.slice(5));
        expect(await store.manifests.tags(repository, { last: "b" }, signal)).toEqual([]);
        expect(await store.manifests.tags(repository, { last: "Z\u0000" }, signal)).toEqual(all.slice(3));
        expect(await store.manifests.tags(repository, { limit: 2, last: "aé" }, signal)).toEqual(["b"]);
        expect(await store.manifests.tags(repository, { limit: 0 }, signal)).toEqual([]);
      });
    });

    describeOptionalParts(() => store, signal);
  });
}

async function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  const error: unknown = await promise.then(
    (value) => ({ resolved: value }),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(DistributionError);
  expect(error).toMatchObject({ code });
}

/** Of a copy: chunks of a body are the store's. */
const bodyOf = (bytes: Buffer): Readable => Readable.from([Buffer.from(bytes)]);

async function collect(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function imageManifest(config: Descriptor, layers: readonly Descriptor[]): Buffer {
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.imageManifest,
    config: { mediaType: mediaTypes.imageConfig, digest: config.digest, size: config.size },
    layers: layers.map(({ digest, size }) => ({ mediaType: mediaTypes.layerTar, digest, size })),
  };
  return Buffer.from(JSON.stringify(manifest));
}

function imageIndex(manifests: readonly Descriptor[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.imageIndex, manifests }));
}

/** Bytes that differ from chunk to chunk and are made as they are read. */
function* pattern(seed: number, sizeBytes: number): Generator<Buffer> {
  for (let at = 0; at < sizeBytes; at += 65_536) {
    const chunk = Buffer.alloc(65_536, seed);
    chunk.writeUInt32BE(at / 65_536, 0);
    yield chunk;
  }
}

async function digestOfPattern(seed: number, sizeBytes: number): Promise<Digest> {
  const hash = createHash("sha256");
  for (const chunk of pattern(seed, sizeBytes)) hash.update(chunk);
  return `sha256:${hash.digest("hex")}` as Digest;
}
