import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import { type Repository, parseRepository, parseTag } from "../../../oci/repository.ts";
import { createS3Client } from "../../../registry/bucket/s3-client.ts";
import { storageKeys } from "../../../registry/bucket/storage-keys.ts";
import { type S3Store, openS3Store } from "../../../registry/s3-store.ts";
import { emptyArtifact, pushEmptyConfig } from "../../conformance/optional-parts.ts";
import { type FaultyS3, type S3Request, firstOf, openFaultyS3 } from "./faulty-s3.ts";
import { type ScratchBucket, openScratchBucket } from "./scratch-bucket.ts";

const signal = AbortSignal.timeout(600_000);
setMaxListeners(0, signal);
const subject = { mediaType: mediaTypes.imageManifest, digest: digestOf("subject"), size: 7 };
const twoMinutesMs = 2 * 60_000;

describe("deletion beside pushes, at two instances over one bucket", () => {
  let scratch: ScratchBucket;
  let [one, other]: S3Store[] = [];

  beforeAll(async () => {
    scratch = await openScratchBucket();
    [one, other] = [openS3Store(scratch), openS3Store(scratch)];
  });
  afterAll(async () => {
    await Promise.all([one, other].map((store) => store![Symbol.asyncDispose]()));
    await scratch[Symbol.asyncDispose]();
  });

  const push = (store: S3Store, repository: Repository, tag: string, bytes: Buffer) =>
    store.manifests.write(repository, parseManifestReference(tag), mediaTypes.imageManifest, bytes, signal);
  const resolved = async (repository: Repository, reference: string) =>
    (await one!.manifests.resolve(repository, parseManifestReference(reference), signal))?.digest;
  const referrersOf = async (repository: Repository): Promise<Digest[]> =>
    (await one!.referrers!.list(repository, subject.digest, {}, signal)).referrers.map(({ digest }) => digest);
  const newRepository = async (): Promise<Repository> => {
    const repository = parseRepository(`deletion/${randomUUID()}`);
    await pushEmptyConfig(one!, repository, signal);
    return repository;
  };
  const putRecord = (key: string, record: object) =>
    scratch.s3.send(new PutObjectCommand({ Bucket: scratch.bucket, Key: key, Body: JSON.stringify(record) }));
  const soon = (most: number) => sleep(Math.random() * most);

  it("comes wholly before or wholly after a push of the same manifest", async () => {
    const ends = new Set<string>();
    for (let round = 0; round < 60; round += 1) {
      const repository = await newRepository();
      const bytes = emptyArtifact({ subject, annotations: { round: String(round) } });
      const digest = digestOf(bytes);
      const startedAt = performance.now();
      await push(one!, repository, "t", bytes);
      const pushMs = performance.now() - startedAt;
      await Promise.all([
        soon(pushMs / 2).then(() => push(one!, repository, "t", bytes)),
        soon(pushMs * 1.5).then(() => other!.deletes!.manifest(repository, digest, signal)),
      ]);
      const [byDigest, byTag, referrers] = [
        await resolved(repository, digest),
        await resolved(repository, "t"),
        await referrersOf(repository),
      ];
      expect([byDigest, byTag, referrers]).toEqual(byDigest === undefined ? [undefined, undefined, []] : [digest, digest, [digest]]);
      ends.add(byDigest === undefined ? "deleted" : "pushed");
    }
    // both orders came about
    expect(ends).toEqual(new Set(["deleted", "pushed"]));
  });

  it("never takes a tag along that names another manifest by then", async () => {
    for (let round = 0; round < 30; round += 1) {
      const repository = await newRepository();
      const [before, after] = [emptyArtifact({ artifactType: "a/before" }), emptyArtifact({ artifactType: "a/after" })];
      await push(one!, repository, "t", before);
      await Promise.all([
        soon(8).then(() => push(one!, repository, "t", after)),
        soon(8).then(() => other!.deletes!.manifest(repository, digestOf(before), signal)),
      ]);
      expect(await resolved(repository, "t")).toBe(digestOf(after));
      expect(await resolved(repository, digestOf(before))).toBeUndefined();
    }
  });

  it("is said to have happened by one of those that delete at once", async () => {
    const repository = await newRepository();
    const bytes = emptyArtifact();
    await push(one!, repository, "t", bytes);
    const said = await Promise.all([one!, other!, one!].map((store) => store.deletes!.manifest(repository, digestOf(bytes), signal)));
    expect(said.filter(Boolean)).toHaveLength(1);
    await push(one!, repository, "t", bytes);
    const untagged = await Promise.all([one!, other!].map((store) => store.deletes!.tag(repository, parseTag("t"), signal)));
    expect(untagged.filter(Boolean)).toHaveLength(1);
  });

  it("leaves nothing of a manifest in the bucket", async () => {
    const repository = await newRepository();
    const before = await scratch.keys(storageKeys.repository(repository));
    const bytes = emptyArtifact({ subject });
    await push(one!, repository, "t", bytes);
    expect((await scratch.keys(storageKeys.repository(repository))).length).toBe(before.length + 4);
    await one!.deletes!.manifest(repository, digestOf(bytes), signal);
    expect(await scratch.keys(storageKeys.repository(repository))).toEqual(before);
  });

  it("makes a push of the same manifest wait for its end", async () => {
    const repository = await newRepository();
    const bytes = emptyArtifact();
    const mark = storageKeys.deleting(repository, digestOf(bytes));
    await putRecord(mark, { atMs: Date.now() });
    let isPushed = false;
    const pushed = push(one!, repository, "t", bytes).then(() => (isPushed = true));
    await sleep(300);
    expect(isPushed).toBe(false);
    await scratch.remove(mark);
    expect(await pushed).toBe(true);
  });

  it("refuses a push that has waited for too long, to be sent again", async () => {
    const repository = await newRepository();
    await putRecord(storageKeys.deleting(repository, digestOf(emptyArtifact())), { atMs: Date.now() });
    await expect(push(one!, repository, "t", emptyArtifact())).rejects.toMatchObject({ code: "UNAVAILABLE", status: 503 });
  });

  it("goes on where a deleter died, two minutes later", async () => {
    const repository = await newRepository();
    const bytes = emptyArtifact({ subject });
    await push(one!, repository, "t", bytes);
    await putRecord(storageKeys.deleting(repository, digestOf(bytes)), { atMs: Date.now() - twoMinutesMs - 1000 });
    await push(one!, repository, "u", bytes);
    expect(await one!.deletes!.manifest(repository, digestOf(bytes), signal)).toBe(true);
    expect(await scratch.keys(storageKeys.deleting(repository, digestOf(bytes)))).toEqual([]);
    expect(await resolved(repository, "u")).toBeUndefined();
  });

  it("frees a tag whose deleter died, two minutes later", async () => {
    const repository = await newRepository();
    const bytes = emptyArtifact();
    const key = storageKeys.tag(repository, parseTag("t"));
    await push(one!, repository, "t", bytes);
    const record = { mediaType: mediaTypes.imageManifest, digest: digestOf(bytes), size: bytes.length };
    await putRecord(key, { ...record, deletedAtMs: Date.now() - twoMinutesMs - 1000 });
    expect(await resolved(repository, "t")).toBeUndefined();
    await push(one!, repository, "t", bytes);
    expect(await resolved(repository, "t")).toBe(digestOf(bytes));
  });

  describe("over an S3 whose replies are lost", () => {
    let faulty: FaultyS3;
    let s3: ReturnType<typeof createS3Client>;
    let store: S3Store;
    beforeEach(async () => {
      faulty = await openFaultyS3();
      s3 = createS3Client({ ...inject("s3"), endpoint: faulty.endpoint, forcePathStyle: true });
      store = openS3Store({ s3, bucket: scratch.bucket });
    });
    afterEach(async () => {
      await store[Symbol.asyncDispose]();
      s3.destroy();
      await faulty[Symbol.asyncDispose]();
    });
    const isPutOf = (folder: string) => (request: S3Request) => request.method === "PUT" && request.url.includes(`/${folder}/`);

    it("takes a tag that it made itself for its own, whatever rule there is for it", async () => {
      const repository = await newRepository();
      const bytes = emptyArtifact();
      faulty.decide = firstOf(1, isPutOf("tags"), "lose-reply");
      const onlyIfAbsent = { mayReplace: (current: Digest | undefined) => current === undefined };
      await store.manifests.write(repository, parseManifestReference("t"), mediaTypes.imageManifest, bytes, signal, onlyIfAbsent);
      expect(await resolved(repository, "t")).toBe(digestOf(bytes));
      await expect(
        store.manifests.write(repository, parseManifestReference("t"), mediaTypes.imageManifest, bytes, signal, onlyIfAbsent),
      ).rejects.toMatchObject({ code: "PRECONDITION_FAILED" });
    });

    it("goes on after a mark of its own on a tag", async () => {
      const repository = await newRepository();
      await push(one!, repository, "t", emptyArtifact());
      faulty.decide = firstOf(1, isPutOf("tags"), "lose-reply");
      expect(await store.deletes!.tag(repository, parseTag("t"), signal)).toBe(true);
      expect(await resolved(repository, "t")).toBeUndefined();
    });

    it("goes on after a mark of its own on a manifest", async () => {
      const repository = await newRepository();
      const bytes = emptyArtifact();
      await push(one!, repository, "t", bytes);
      faulty.decide = firstOf(1, isPutOf("deleting"), "lose-reply");
      expect(await store.deletes!.manifest(repository, digestOf(bytes), signal)).toBe(true);
      expect(await resolved(repository, "t")).toBeUndefined();
    });

    it("leaves a tag that was made anew since", async () => {
      const repository = await newRepository();
      const [before, after] = [emptyArtifact({ artifactType: "a/before" }), emptyArtifact({ artifactType: "a/after" })];
      await push(one!, repository, "t", before);
      const { promise: executed, resolve: execute } = Promise.withResolvers<void>();
      const { promise: pushed, resolve: goOn } = Promise.withResolvers<void>();
      let isLost = false;
      faulty.decide = ({ method, url }) => {
        if (isLost) {
          execute();
          return pushed;
        }
        isLost = method === "DELETE" && url.includes("/tags/");
        return isLost ? "lose-reply" : "pass";
      };
      const deleting = store.deletes!.manifest(repository, digestOf(before), signal);
      await executed;
      await push(one!, repository, "t", after);
      goOn();
      expect(await deleting).toBe(true);
      expect(await resolved(repository, "t")).toBe(digestOf(after));
    });
  });
});
