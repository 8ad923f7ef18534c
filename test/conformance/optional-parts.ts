import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { mediaTypes } from "../../oci/media-types.ts";
import { parseManifestReference } from "../../oci/reference.ts";
import { type Repository, type Tag, parseRepository, parseTag } from "../../oci/repository.ts";
import type { DeleteStore, DistributionStore, ReferrerStore, WrittenManifest } from "../../oci/store.ts";

const freshRepository = (): Repository => parseRepository(`conformance/${randomUUID()}`);
const empty = Buffer.from("{}");
const emptyConfig: Descriptor = { mediaType: mediaTypes.emptyJson, digest: digestOf(empty), size: empty.length };
const byDigest = (digest: Digest) => ({ kind: "digest", digest }) as const;
const tagged = (tag: string) => parseManifestReference(tag);

export async function pushEmptyConfig(store: DistributionStore, repository: Repository, signal: AbortSignal): Promise<void> {
  const { id } = await store.uploads.start(repository, signal);
  await store.uploads.append(repository, id, 0, Readable.from([empty]), signal);
  await store.uploads.finish(repository, id, emptyConfig.digest, signal);
}

/** An artifact that consists of the empty config alone; `more` are fields of its manifest. */
export function emptyArtifact(more: object = {}): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.imageManifest, config: emptyConfig, layers: [], ...more }));
}

/** What the interface leaves to a store: tests of a part that it lacks are skipped. */
export function describeOptionalParts(open: () => DistributionStore, signal: AbortSignal): void {
  const push = async (
    repository: Repository,
    more: object = {},
    reference?: string,
    tags: readonly Tag[] = [],
  ): Promise<WrittenManifest> => {
    await pushEmptyConfig(open(), repository, signal);
    const bytes = emptyArtifact(more);
    const at = reference === undefined ? byDigest(digestOf(bytes)) : tagged(reference);
    return open().manifests.write(repository, at, mediaTypes.imageManifest, bytes, signal, { tags });
  };
  const resolve = (repository: Repository, reference: string) =>
    open().manifests.resolve(repository, parseManifestReference(reference), signal);

  describe("referrers", () => {
    type Test = (referrers: ReferrerStore) => Promise<void>;
    const test = (name: string, act: Test) =>
      it(name, async (context) => {
        const { referrers } = open();
        if (referrers === undefined) return context.skip("this store has no referrers");
        await act(referrers);
      });
    const subject = { mediaType: mediaTypes.imageManifest, digest: digestOf("a manifest that was never pushed"), size: 123 };

    test("lists whatever names a subject, that one being there or not", async (referrers) => {
      const repository = freshRepository();
      expect(await referrers.list(repository, subject.digest, {}, signal)).toEqual({ referrers: [] });
      const annotations = { "org.example": "ä" };
      const artifact = await push(repository, { subject, artifactType: "application/x-sbom", annotations }, "sbom");
      const plain = await push(repository, { subject });
      expect([artifact.subject, plain.subject]).toEqual([subject.digest, subject.digest]);
      expect((await push(repository)).subject).toBeUndefined();
      const { referrers: found, next } = await referrers.list(repository, subject.digest, {}, signal);
      expect(next).toBeUndefined();
      expect(found).toHaveLength(2);
      const { mediaType, digest, size } = artifact;
      expect(found).toContainEqual({ mediaType, digest, size, artifactType: "application/x-sbom", annotations });
      expect(found).toContainEqual({ mediaType, digest: plain.digest, size: plain.size, artifactType: mediaTypes.emptyJson });
    });

    test("keeps them to their repository", async (referrers) => {
      await push(freshRepository(), { subject });
      expect(await referrers.list(freshRepository(), subject.digest, {}, signal)).toEqual({ referrers: [] });
    });

    test("lists those of one artifact type", async (referrers) => {
      const repository = freshRepository();
      const [first] = [
        await push(repository, { subject, artifactType: "a/one" }),
        await push(repository, { subject, artifactType: "a/two" }),
      ];
      const listed = await referrers.list(repository, subject.digest, { artifactType: "a/one" }, signal);
      expect(listed.referrers.map(({ digest }) => digest)).toEqual([first.digest]);
      expect((await referrers.list(repository, subject.digest, { artifactType: "a/none" }, signal)).referrers).toEqual([]);
    });

    test("takes many at once and lists them page by page, each once", async (referrers) => {
      const repository = freshRepository();
      const pushed = await Promise.all(
        Array.from({ length: 13 }, (_, at) => push(repository, { subject, artifactType: `a/${at % 3}`, annotations: { at: String(at) } })),
      );
      for (const artifactType of [undefined, "a/0"]) {
        const ask = artifactType === undefined ? {} : { artifactType };
        const expected = pushed.filter((_, at) => artifactType === undefined || at % 3 === 0).map(({ digest }) => digest);
        const found: Digest[] = [];
        for (let last: string | undefined, more = true; more;) {
          const page = await referrers.list(
            repository,
            subject.digest,
            { ...ask, limit: 4, ...(last === undefined ? {} : { last }) },
            signal,
          );
          expect(page.referrers.length).toBeLessThanOrEqual(4);
          found.push(...page.referrers.map(({ digest }) => digest));
          last = page.next;
          more = last !== undefined;
        }
        expect(found.toSorted()).toEqual(expected.toSorted());
      }
    });

    test("ends a page before it is longer than a manifest may be", async (referrers) => {
      const repository = freshRepository();
      const note = "x".repeat(1_500_000);
      for (const at of [1, 2, 3]) await push(repository, { subject, annotations: { note, at: String(at) } });
      const first = await referrers.list(repository, subject.digest, {}, signal);
      expect(first.referrers).toHaveLength(2);
      const rest = await referrers.list(repository, subject.digest, { last: first.next! }, signal);
      expect(rest).toEqual({ referrers: [expect.anything()] });
    });
  });

  describe("tags beside the reference", () => {
    it("name the manifest that was pushed by its digest", async (context) => {
      const repository = freshRepository();
      const written = await push(repository, { annotations: { a: "b" } }, undefined, ["one", "two"].map(parseTag));
      if (written.tags === undefined) return context.skip("this store takes no more tags");
      expect(written.tags).toEqual(["one", "two"]);
      for (const tag of written.tags) expect(await resolve(repository, tag)).toMatchObject({ digest: written.digest });
    });
  });

  describe("deletion", () => {
    type Test = (deletes: DeleteStore, referrers: ReferrerStore | undefined) => Promise<void>;
    const test = (name: string, act: Test) =>
      it(name, async (context) => {
        const { deletes, referrers } = open();
        if (deletes === undefined) return context.skip("this store deletes nothing");
        await act(deletes, referrers);
      });

    test("of a tag leaves the manifest, and the name free", async (deletes) => {
      const repository = freshRepository();
      const { digest } = await push(repository, {}, "gone");
      await push(repository, {}, "kept");
      expect(await deletes.tag(repository, parseTag("gone"), signal)).toBe(true);
      expect(await resolve(repository, "gone")).toBeUndefined();
      expect(await open().manifests.read(repository, tagged("gone"), signal)).toBeUndefined();
      expect(await open().manifests.tags(repository, {}, signal)).toEqual(["kept"]);
      expect(await resolve(repository, digest)).toMatchObject({ digest });
      expect(await deletes.tag(repository, parseTag("gone"), signal)).toBe(false);
      await push(repository, {}, "gone");
      expect(await resolve(repository, "gone")).toMatchObject({ digest });
    });

    test("of a manifest takes its tags and its entry among the referrers, and nothing else", async (deletes, referrers) => {
      const repository = freshRepository();
      const subject = { mediaType: mediaTypes.imageManifest, digest: digestOf("subject"), size: 7 };
      const { digest } = await push(repository, { subject }, undefined, ["one", "two", "moved"].map(parseTag));
      for (const tag of ["one", "two"]) await push(repository, { subject }, tag);
      const other = await push(repository, { subject, artifactType: "a/other" }, "moved");
      expect(await deletes.manifest(repository, digest, signal)).toBe(true);
      for (const gone of [digest, "one", "two"]) expect(await resolve(repository, gone)).toBeUndefined();
      expect(await resolve(repository, "moved")).toMatchObject({ digest: other.digest });
      expect(await open().manifests.tags(repository, {}, signal)).toEqual(["moved"]);
      const left = await referrers?.list(repository, subject.digest, {}, signal);
      if (left !== undefined) expect(left.referrers.map(({ digest: found }) => found)).toEqual([other.digest]);
      expect(await deletes.manifest(repository, digest, signal)).toBe(false);
    });

    test("of a blob takes it out of one repository", async (deletes) => {
      const [mine, theirs] = [freshRepository(), freshRepository()];
      for (const repository of [mine, theirs]) await pushEmptyConfig(open(), repository, signal);
      expect(await deletes.blob(mine, emptyConfig.digest, signal)).toBe(true);
      expect(await open().blobs.stat(mine, emptyConfig.digest, signal)).toBeUndefined();
      expect(await open().blobs.stat(theirs, emptyConfig.digest, signal)).toMatchObject({ size: 2 });
      expect(await deletes.blob(mine, emptyConfig.digest, signal)).toBe(false);
    });

    test("of what another repository has does nothing", async (deletes) => {
      const [mine, theirs] = [freshRepository(), freshRepository()];
      const { digest } = await push(theirs, {}, "v1");
      expect(await deletes.manifest(mine, digest, signal)).toBe(false);
      expect(await deletes.tag(mine, parseTag("v1"), signal)).toBe(false);
      expect(await deletes.blob(mine, emptyConfig.digest, signal)).toBe(false);
      expect(await resolve(theirs, "v1")).toMatchObject({ digest });
    });
  });
}
