import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { distributionErrors } from "../../../oci/errors.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { emptyArtifact } from "../../conformance/optional-parts.ts";
import { type Answer, type RegistryOverHttp, errorOf, openRegistryOverHttp } from "./registry-over-http.ts";

const imageType = { "content-type": mediaTypes.imageManifest };
const indexType = { "content-type": mediaTypes.imageIndex };
const empty = Buffer.from("{}");
const emptyConfig = { mediaType: mediaTypes.emptyJson, digest: digestOf(empty), size: 2 };

/** distribution-spec, "Error Codes" */
const codesOfTheSpec = [
  "BLOB_UNKNOWN",
  "BLOB_UPLOAD_INVALID",
  "BLOB_UPLOAD_UNKNOWN",
  "DIGEST_INVALID",
  "MANIFEST_BLOB_UNKNOWN",
  "MANIFEST_INVALID",
  "MANIFEST_UNKNOWN",
  "NAME_INVALID",
  "NAME_UNKNOWN",
  "SIZE_INVALID",
  "UNAUTHORIZED",
  "DENIED",
  "UNSUPPORTED",
  "TOOMANYREQUESTS",
];

describe("the Distribution API of the registry", () => {
  let registry: RegistryOverHttp;
  const send: RegistryOverHttp["send"] = (...request) => registry.send(...request);

  beforeAll(async () => {
    registry = await openRegistryOverHttp();
  });
  afterAll(() => registry[Symbol.asyncDispose]());

  const pushBlob = (repository: string, bytes: Buffer, digest: string = digestOf(bytes)) =>
    send("POST", `/v2/${repository}/blobs/uploads/?digest=${digest}`, {}, bytes);
  const newRepository = async (): Promise<string> => {
    const repository = `protocol/${randomUUID()}`;
    await pushBlob(repository, empty);
    return repository;
  };
  const pushManifest = (repository: string, reference: string, bytes: Buffer, headers: Record<string, string> = imageType) =>
    send("PUT", `/v2/${repository}/manifests/${reference}`, headers, bytes);
  const indexOf = (...manifests: object[]) => Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
  const descriptorOf = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });

  describe("referrers (end-12)", () => {
    const subject = { mediaType: mediaTypes.imageManifest, digest: digestOf("subject"), size: 7 };
    const list = async (repository: string, query = "") => {
      const answer = await send("GET", `/v2/${repository}/referrers/${subject.digest}${query}`);
      expect([answer.status, answer.headers["content-type"]]).toEqual([200, mediaTypes.imageIndex]);
      const index = JSON.parse(answer.body.toString()) as { manifests: { digest: string }[] };
      expect(index).toMatchObject({ schemaVersion: 2, mediaType: mediaTypes.imageIndex });
      return { digests: index.manifests.map(({ digest }) => digest), headers: answer.headers };
    };

    it("are an image index, empty for what nothing refers to, of whatever repository", async () => {
      expect((await list(await newRepository())).digests).toEqual([]);
      expect((await list(`never/${randomUUID()}`)).digests).toEqual([]);
    });

    it("are announced at the push, filtered on request and paged by Link", async () => {
      const repository = await newRepository();
      const artifacts = ["a/x", "a/x", "a/y"].map((artifactType, at) =>
        emptyArtifact({ subject, artifactType, annotations: { at: String(at) } }),
      );
      for (const artifact of artifacts) {
        const answer = await pushManifest(repository, digestOf(artifact), artifact);
        expect(answer).toMatchObject({ status: 201, headers: { "oci-subject": subject.digest } });
      }
      const all = await list(repository);
      expect(all.digests.toSorted()).toEqual(artifacts.map((bytes) => digestOf(bytes)).toSorted());
      expect(all.headers["oci-filters-applied"]).toBeUndefined();

      const filtered = await list(repository, "?artifactType=a%2Fx&n=1");
      expect(filtered.headers["oci-filters-applied"]).toBe("artifactType");
      const next = /^<(.*)>; rel="next"$/.exec(filtered.headers.link as string)![1]!;
      const rest = await send("GET", next);
      expect(rest.headers.link).toBeUndefined();
      const found = [
        ...filtered.digests,
        ...(JSON.parse(rest.body.toString()) as { manifests: { digest: string }[] }).manifests.map(({ digest }) => digest),
      ];
      expect(found.toSorted()).toEqual(
        artifacts
          .slice(0, 2)
          .map((bytes) => digestOf(bytes))
          .toSorted(),
      );
    });
  });

  describe("manifests (end-7, end-9)", () => {
    it("are named by every tag of the query, and say which", async () => {
      const repository = await newRepository();
      const bytes = emptyArtifact();
      const tags = Array.from({ length: 12 }, (_, at) => `t${at}`);
      const query = tags.map((tag) => `tag=${tag}`).join("&");
      const answer = await pushManifest(repository, `${digestOf(bytes)}?${query}`, bytes);
      expect(answer).toMatchObject({ status: 201, headers: { "oci-tag": tags.join(", "), "docker-content-digest": digestOf(bytes) } });
      for (const tag of tags) expect((await send("HEAD", `/v2/${repository}/manifests/${tag}`)).status).toBe(200);
    });

    it("take no more than 50 tags at once, no bad one, and none beside a tag", async () => {
      const repository = await newRepository();
      const bytes = emptyArtifact();
      const digest = digestOf(bytes);
      const many = Array.from({ length: 51 }, (_, at) => `tag=t${at}`).join("&");
      const tooMany = await pushManifest(repository, `${digest}?${many}`, bytes);
      expect([tooMany.status, errorOf(tooMany)]).toEqual([414, expect.objectContaining({ code: "MANIFEST_INVALID" })]);
      expect((await pushManifest(repository, `${digest}?tag=-bad`, bytes)).status).toBe(400);
      expect((await send("HEAD", `/v2/${repository}/manifests/${digest}`)).status).toBe(404);
      const byTag = await pushManifest(repository, "a?tag=b", bytes);
      expect([byTag.status, byTag.headers["oci-tag"]]).toEqual([201, undefined]);
      expect((await send("HEAD", `/v2/${repository}/manifests/b`)).status).toBe(404);
    });

    it("keep the digest, the type and the bytes they were pushed with, also by sha512", async () => {
      const repository = await newRepository();
      const bytes = emptyArtifact({ annotations: { by: "sha512" } });
      const digest = digestOf(bytes, "sha512");
      expect(await pushManifest(repository, `${digest}?tag=t`, bytes)).toMatchObject({ status: 201, headers: { "oci-tag": "t" } });
      for (const reference of [digest, "t"]) {
        const headers = {
          "docker-content-digest": digest,
          "content-length": String(bytes.length),
          "content-type": mediaTypes.imageManifest,
          etag: `"${digest}"`,
        };
        const got = await send("GET", `/v2/${repository}/manifests/${reference}`);
        expect(got).toMatchObject({ status: 200, headers });
        expect(got.body.equals(bytes)).toBe(true);
        expect(await send("HEAD", `/v2/${repository}/manifests/${reference}`)).toMatchObject({
          status: 200,
          headers,
          body: Buffer.alloc(0),
        });
      }
      const other = await pushManifest(repository, digest, emptyArtifact());
      expect([other.status, errorOf(other)?.code]).toEqual([400, "DIGEST_INVALID"]);
    });

    it("are not sent to who has them, nor to who wants another", async () => {
      const repository = await newRepository();
      const bytes = emptyArtifact();
      const path = `/v2/${repository}/manifests/t`;
      await pushManifest(repository, "t", bytes);
      const etag = `"${digestOf(bytes)}"`;
      for (const method of ["GET", "HEAD"]) {
        expect(await send(method, path, { "if-none-match": etag })).toMatchObject({
          status: 304,
          headers: { etag },
          body: Buffer.alloc(0),
        });
        expect((await send(method, path, { "if-none-match": '"other"' })).status).toBe(200);
        expect((await send(method, path, { "if-match": etag })).status).toBe(200);
        expect((await send(method, path, { "if-match": '"other"' })).status).toBe(412);
      }
      expect((await send("GET", `/v2/${repository}/manifests/absent`, { "if-none-match": "*" })).status).toBe(404);
    });

    it("take a tag's place only where the push allows it, and only one of those that race", async () => {
      const repository = await newRepository();
      const [first, second] = [emptyArtifact({ artifactType: "a/1" }), emptyArtifact({ artifactType: "a/2" })];
      const push = (bytes: Buffer, condition: Record<string, string>) =>
        pushManifest(repository, "t", bytes, { ...imageType, ...condition });
      const named = async () => (await send("HEAD", `/v2/${repository}/manifests/t`)).headers["docker-content-digest"];
      expect((await push(first, { "if-match": "*" })).status).toBe(412);
      expect((await push(first, { "if-none-match": "*" })).status).toBe(201);
      const refused = await push(second, { "if-none-match": "*" });
      expect([refused.status, errorOf(refused)]).toEqual([
        412,
        { code: "DENIED", message: "precondition failed", detail: { tag: "t", found: digestOf(first) } },
      ]);
      expect((await send("HEAD", `/v2/${repository}/manifests/${digestOf(second)}`)).status).toBe(404);
      expect((await push(second, { "if-match": `"${digestOf(second)}"` })).status).toBe(412);
      expect(await named()).toBe(digestOf(first));
      const racing = Array.from({ length: 8 }, (_, at) => emptyArtifact({ artifactType: `a/racing-${at}` }));
      const answers = await Promise.all(racing.map((bytes) => push(bytes, { "if-match": `"${digestOf(first)}"` })));
      const won = answers.findIndex(({ status }) => status === 201);
      expect(answers.map(({ status }) => status)).toEqual(racing.map((_, at) => (at === won ? 201 : 412)));
      expect(await named()).toBe(digestOf(racing[won]!));
    });

    it("are gone at once when they are deleted, with their tags", async () => {
      const repository = await newRepository();
      const bytes = emptyArtifact();
      await pushManifest(repository, "one", bytes);
      await pushManifest(repository, "two", bytes);
      expect((await send("DELETE", `/v2/${repository}/manifests/one`)).status).toBe(202);
      expect((await send("GET", `/v2/${repository}/manifests/one`)).status).toBe(404);
      expect((await send("DELETE", `/v2/${repository}/manifests/${digestOf(bytes)}`)).status).toBe(202);
      for (const gone of ["two", digestOf(bytes)]) {
        expect(await send("GET", `/v2/${repository}/manifests/${gone}`).then(errorOf)).toMatchObject({ code: "MANIFEST_UNKNOWN" });
        expect((await send("DELETE", `/v2/${repository}/manifests/${gone}`)).status).toBe(404);
      }
      expect(JSON.parse((await send("GET", `/v2/${repository}/tags/list`)).body.toString())).toEqual({ name: repository, tags: [] });
    });

    it.each([
      [
        "128 layers",
        emptyArtifact({ layers: Array.from({ length: 128 }, () => emptyConfig) }),
        imageType,
        { field: "layers", found: 128, expected: "at most 127 layers" },
      ],
      ["layers and manifests at once", emptyArtifact({ manifests: [] }), imageType, { field: "manifests" }],
      ["another type inside than announced", emptyArtifact(), indexType, {}],
      [
        "Docker schema 1",
        Buffer.from('{"schemaVersion":1,"fsLayers":[]}'),
        { "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws" },
        { expected: "Docker schema 2 or OCI: schema 1 is not taken any more" },
      ],
      ["an unknown type", empty, { "content-type": "application/json" }, { mediaType: "application/json" }],
      ["no type", empty, {}, { expected: "a Content-Type header" }],
      [
        "a child of another size",
        emptyArtifact({ config: { ...emptyConfig, size: 3 } }),
        imageType,
        { field: "size", found: 3, expected: 2 },
      ],
    ])("are refused with %s, by name", async (_what, bytes, headers, detail) => {
      const repository = await newRepository();
      const answer = await pushManifest(repository, "bad", bytes, headers);
      expect([answer.status, errorOf(answer)]).toEqual([
        400,
        { code: "MANIFEST_INVALID", message: "manifest invalid", detail: expect.objectContaining(detail) as object },
      ]);
      expect((await send("HEAD", `/v2/${repository}/manifests/bad`)).status).toBe(404);
    });

    it("may be indexes of indexes, but not without end, and call their children what these are", async () => {
      const repository = await newRepository();
      const image = emptyArtifact();
      await pushManifest(repository, "image", image);
      let child = descriptorOf(image, mediaTypes.imageManifest);
      for (const status of [201, 201, 201, 400]) {
        const index = indexOf(child);
        expect((await pushManifest(repository, "index", index, indexType)).status).toBe(status);
        child = descriptorOf(index, mediaTypes.imageIndex);
      }
      const misnamed = await pushManifest(repository, "misnamed", indexOf(descriptorOf(image, mediaTypes.imageIndex)), indexType);
      expect(errorOf(misnamed)).toMatchObject({
        code: "MANIFEST_INVALID",
        detail: { field: "mediaType", expected: mediaTypes.imageManifest },
      });
      // as BuildKit's cache has it
      expect((await pushManifest(repository, "blobs", indexOf(emptyConfig), indexType)).status).toBe(201);
    });

    it("are stored under 4 MiB, and refused above it", async () => {
      const repository = await newRepository();
      const padded = (sizeBytes: number) => Buffer.concat([emptyArtifact(), Buffer.alloc(sizeBytes - emptyArtifact().length, " ")]);
      expect((await pushManifest(repository, "large", padded(4 * 1024 * 1024))).status).toBe(201);
      const tooLarge = await pushManifest(repository, "larger", padded(4 * 1024 * 1024 + 1));
      expect([tooLarge.status, errorOf(tooLarge)?.code]).toEqual([413, "MANIFEST_INVALID"]);
    });
  });

  describe("blobs (end-2, end-4, end-10)", () => {
    it("take the algorithm that their upload was started with", async () => {
      const repository = await newRepository();
      const bytes = Buffer.from("by sha512");
      const digest = digestOf(bytes, "sha512");
      const started = await send("POST", `/v2/${repository}/blobs/uploads/?digest-algorithm=sha512`);
      expect(started.status).toBe(202);
      const finished = await send("PUT", `${started.headers.location}?digest=${digest}`, {}, bytes);
      expect(finished).toMatchObject({ status: 201, headers: { "docker-content-digest": digest } });
      expect((await send("GET", `/v2/${repository}/blobs/${digest}`)).body.equals(bytes)).toBe(true);
      expect(await pushBlob(repository, bytes, digest)).toMatchObject({ status: 201, headers: { "docker-content-digest": digest } });
    });

    it("serve what lies within, and say how long they are to whom asks beyond", async () => {
      const repository = await newRepository();
      const bytes = Buffer.from("0123456789");
      await pushBlob(repository, bytes);
      const path = `/v2/${repository}/blobs/${digestOf(bytes)}`;
      const parts = [
        ["bytes=2-4", "234"],
        ["bytes=7-", "789"],
        ["bytes=-3", "789"],
        ["bytes=8-99", "89"],
        ["bytes=-99", "0123456789"],
      ] as const;
      for (const [range, part] of parts) {
        const answer = await send("GET", path, { range });
        expect([answer.status, answer.body.toString()]).toEqual([206, part]);
        expect(answer.headers["content-length"]).toBe(String(part.length));
      }
      for (const range of ["bytes=10-", "bytes=5-4", "bytes=-0"]) {
        const answer = await send("GET", path, { range });
        expect([answer.status, errorOf(answer)?.code]).toEqual([416, "SIZE_INVALID"]);
      }
      expect((await send("GET", path, { range: "bytes=10-" })).headers["content-range"]).toBe("bytes */10");
      const whole = await send("GET", path);
      expect(whole).toMatchObject({
        status: 200,
        headers: { "accept-ranges": "bytes", etag: `"${digestOf(bytes)}"`, "content-length": "10" },
      });
      expect((await send("GET", path, { "if-match": '"other"' })).status).toBe(412);
    });

    it("are deleted from one repository only", async () => {
      const [mine, theirs] = [await newRepository(), await newRepository()];
      const path = (repository: string) => `/v2/${repository}/blobs/${emptyConfig.digest}`;
      expect((await send("DELETE", path(mine))).status).toBe(202);
      expect([(await send("HEAD", path(mine))).status, (await send("HEAD", path(theirs))).status]).toEqual([404, 200]);
      expect(await send("DELETE", path(mine)).then(errorOf)).toMatchObject({ code: "BLOB_UNKNOWN" });
    });

    it("are not found for a pusher that names no repository they are in", async () => {
      const [mine, theirs] = [await newRepository(), await newRepository()];
      const secret = Buffer.from(randomUUID());
      await pushBlob(theirs, secret);
      expect((await send("POST", `/v2/${mine}/blobs/uploads/?mount=${digestOf(secret)}`)).status).toBe(202);
      expect((await send("HEAD", `/v2/${mine}/blobs/${digestOf(secret)}`)).status).toBe(404);
    });

    it("forget an upload that is cancelled", async () => {
      const repository = await newRepository();
      const { location } = (await send("POST", `/v2/${repository}/blobs/uploads/`)).headers;
      expect((await send("DELETE", location!)).status).toBe(204);
      expect(await send("GET", location!).then(errorOf)).toMatchObject({ code: "BLOB_UPLOAD_UNKNOWN" });
    });
  });

  it("ignores on whose behalf it is asked, as it is no proxy, and refuses what is no host", async () => {
    const repository = await newRepository();
    await pushManifest(repository, "t", emptyArtifact());
    const answer = await send("GET", `/v2/${repository}/manifests/t?ns=docker.io`);
    expect([answer.status, answer.headers["oci-namespace"]]).toEqual([200, undefined]);
    expect((await send("GET", `/v2/${repository}/manifests/t?ns=a%0d%0ab`)).status).toBe(400);
  });

  it("tells nobody which repositories there are", async () => {
    for (const path of ["/v2/_catalog", "/v2/_catalog?n=1", "/v2/_catalog/", "/v2"]) {
      const answer = await send("GET", path);
      expect(answer.body.toString()).not.toContain("protocol/");
    }
    expect((await send("GET", "/v2/_catalog")).status).toBe(404);
  });

  it("never fails, and names the spec's errors only, whatever it is asked", async () => {
    const digest = digestOf(empty);
    const repository = await newRepository();
    await pushManifest(repository, "t", emptyArtifact());
    const segment = fc.oneof(
      fc.constantFrom(
        "blobs",
        "uploads",
        "manifests",
        "tags",
        "list",
        "referrers",
        "_catalog",
        repository,
        digest,
        "t",
        "",
        "..",
        "%2f",
        "%zz",
        "%00",
      ),
      fc.string({ maxLength: 8 }).map(encodeURIComponent),
    );
    const path = fc.oneof(
      fc.array(segment, { maxLength: 6 }).map((segments) => `/v2/${segments.join("/")}`),
      fc
        .constantFrom(
          `blobs/${digest}`,
          "manifests/t",
          `manifests/${digest}`,
          "tags/list",
          `referrers/${digest}`,
          "blobs/uploads/",
          "blobs/uploads/x",
        )
        .map((endpoint) => `/v2/${repository}/${endpoint}`),
    );
    const value = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom("1", "0", "-1", digest, "sha512", repository, "a/b", "\u0000", "é"),
    );
    const query = fc.array(
      fc.tuple(fc.constantFrom("n", "last", "artifactType", "digest", "digest-algorithm", "mount", "from", "tag", "ns", "state"), value),
      { maxLength: 3 },
    );
    const printable = fc.stringMatching(/^[\x21-\x7e]{0,16}$/);
    const header = fc.oneof(
      printable,
      fc.constantFrom("bytes=0-1", "bytes=1-0", "bytes=-1", "bytes=9-", "0-1", "1-0", "*", `"${digest}"`, mediaTypes.imageManifest),
    );
    const headers = fc.dictionary(
      fc.constantFrom("range", "content-range", "if-range", "if-match", "if-none-match", "content-type", "accept", "authorization"),
      header,
      { maxKeys: 3 },
    );
    const body = fc.option(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.json().map((text) => Buffer.from(text)),
      ),
      { nil: undefined },
    );
    const method = fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS");
    await fc.assert(
      fc.asyncProperty(method, path, query, headers, body, async (verb, at, params, fields, bytes) => {
        const answer: Answer = await send(
          verb,
          `${at}?${new URLSearchParams(params).toString()}`,
          fields,
          bytes === undefined ? undefined : Buffer.from(bytes),
        );
        expect(answer.status).toBeLessThan(500);
        if (answer.status >= 400 && verb !== "HEAD") expect(codesOfTheSpec).toContain(errorOf(answer)?.code);
      }),
      { numRuns: 500 },
    );
    expect(registry.failures).toEqual([]);
  });

  it("has a status for each code of the spec", () => {
    expect(Object.keys(distributionErrors)).toEqual(expect.arrayContaining(codesOfTheSpec));
  });
});
