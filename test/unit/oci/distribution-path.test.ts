import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseDistributionPath } from "../../../oci/distribution-path.ts";
import { DistributionError } from "../../../oci/errors.ts";

const digest = `sha256:${"a1".repeat(32)}`;

const codeOf = (method: string, path: string): string | undefined => {
  try {
    return parseDistributionPath(method, path)?.kind;
  } catch (error) {
    expect(error).toBeInstanceOf(DistributionError);
    return (error as DistributionError).code;
  }
};

describe("parseDistributionPath", () => {
  it.each([
    ["GET", "/v2/", { kind: "ping" }],
    ["HEAD", "/v2", { kind: "ping" }],
    ["GET", `/v2/a/b/c/blobs/${digest}`, { kind: "readBlob", repository: "a/b/c", digest }],
    ["HEAD", `/v2/a/blobs/${digest.replace(":", "%3A")}`, { kind: "statBlob", repository: "a", digest }],
    ["POST", "/v2/a/b/blobs/uploads/", { kind: "startUpload", repository: "a/b" }],
    ["POST", "/v2/a/b/blobs/uploads", { kind: "startUpload", repository: "a/b" }],
    ["PATCH", "/v2/a/blobs/uploads/0f-9", { kind: "appendUpload", repository: "a", id: "0f-9" }],
    ["PUT", "/v2/a/blobs/uploads/x", { kind: "finishUpload", repository: "a", id: "x" }],
    ["GET", "/v2/a/blobs/uploads/x", { kind: "uploadStatus", repository: "a", id: "x" }],
    ["DELETE", "/v2/a/blobs/uploads/x", { kind: "abortUpload", repository: "a", id: "x" }],
    ["GET", "/v2/a/manifests/v1.0", { kind: "readManifest", repository: "a", reference: { kind: "tag", tag: "v1.0" } }],
    ["HEAD", `/v2/a/manifests/${digest}`, { kind: "resolveManifest", repository: "a", reference: { kind: "digest", digest } }],
    ["PUT", "/v2/a/manifests/latest", { kind: "writeManifest", repository: "a", reference: { kind: "tag", tag: "latest" } }],
    ["DELETE", "/v2/a/manifests/v1.0", { kind: "deleteManifest", repository: "a", reference: { kind: "tag", tag: "v1.0" } }],
    ["DELETE", `/v2/a/manifests/${digest}`, { kind: "deleteManifest", repository: "a", reference: { kind: "digest", digest } }],
    ["DELETE", `/v2/a/b/blobs/${digest}`, { kind: "deleteBlob", repository: "a/b", digest }],
    ["GET", "/v2/a/tags/list", { kind: "listTags", repository: "a" }],
    ["GET", `/v2/a/b/referrers/${digest}`, { kind: "listReferrers", repository: "a/b", digest }],
  ])("parses %s %s", (method, path, expected) => {
    expect(parseDistributionPath(method, path)).toEqual(expected);
  });

  it("takes words of the API as parts of a repository's name", () => {
    expect(parseDistributionPath("GET", "/v2/blobs/uploads/manifests/tags/manifests/latest")).toMatchObject({
      kind: "readManifest",
      repository: "blobs/uploads/manifests/tags",
    });
  });

  it.each(["/", "/v1/", "/v2/_catalog", "/v2/tags/list", "/v2/a", "/v2/a/referrers", "/v2/a/tags/list/"])("knows nothing of %s", (path) => {
    expect(parseDistributionPath("GET", path)).toBeUndefined();
  });

  it.each([
    ["..", "/v2/../../etc/manifests/latest"],
    ["a dot component", "/v2/a/./b/manifests/latest"],
    ["an empty component", "/v2/a//b/manifests/latest"],
    ["a leading slash", "/v2//a/manifests/latest"],
    ["an encoded slash", "/v2/a%2fb/manifests/latest"],
    ["an encoded dot-dot", "/v2/%2e%2e/manifests/latest"],
    ["upper case", "/v2/Library/manifests/latest"],
    ["a space", "/v2/a%20b/manifests/latest"],
    ["a NUL", "/v2/a%00b/manifests/latest"],
    ["300 characters", `/v2/${"a".repeat(300)}/manifests/latest`],
    ["a port", "/v2/host:5000/a/manifests/latest"],
    ["a backslash", "/v2/a\\b/manifests/latest"],
  ])("refuses a name with %s", (_what, path) => {
    expect(codeOf("GET", path)).toBe("NAME_INVALID");
  });

  it.each([
    ["GET", "/v2/a/blobs/sha256:abc", "DIGEST_INVALID"],
    ["GET", `/v2/a/blobs/md5:${"a".repeat(32)}`, "DIGEST_INVALID"],
    ["GET", `/v2/a/blobs/${digest.toUpperCase()}`, "DIGEST_INVALID"],
    ["GET", "/v2/a/blobs/%zz", "DIGEST_INVALID"],
    ["GET", "/v2/a/manifests/sha256:abc", "DIGEST_INVALID"],
    ["GET", "/v2/a/manifests/.hidden", "MANIFEST_UNKNOWN"],
    ["GET", "/v2/a/manifests/..%2f..%2fx", "MANIFEST_UNKNOWN"],
    ["PUT", `/v2/a/manifests/${"t".repeat(129)}`, "MANIFEST_INVALID"],
    ["PATCH", "/v2/a/blobs/uploads/..%2fx", "BLOB_UPLOAD_UNKNOWN"],
    ["PATCH", `/v2/a/blobs/uploads/${"x".repeat(300)}`, "BLOB_UPLOAD_UNKNOWN"],
    ["GET", "/v2/a/referrers/latest", "DIGEST_INVALID"],
    ["GET", "/v2/a/referrers/sha256:abc", "DIGEST_INVALID"],
    ["DELETE", "/v2/a/blobs/sha256:abc", "DIGEST_INVALID"],
    ["DELETE", "/v2/a/manifests/.hidden", "MANIFEST_UNKNOWN"],
    ["PUT", `/v2/a/blobs/${digest}`, "UNSUPPORTED"],
    ["POST", `/v2/a/referrers/${digest}`, "UNSUPPORTED"],
    ["DELETE", "/v2/a/tags/list", "UNSUPPORTED"],
    ["POST", "/v2/", "UNSUPPORTED"],
    ["PUT", "/v2/a/blobs/uploads/", "UNSUPPORTED"],
    ["OPTIONS", "/v2/a/tags/list", "UNSUPPORTED"],
  ])("answers %s %s with %s", (method, path, code) => {
    expect(codeOf(method, path)).toBe(code);
  });

  it("throws nothing but DistributionError, whatever the path", () => {
    const segment = fc.oneof(
      fc.string(),
      fc.constantFrom("blobs", "uploads", "manifests", "tags", "list", "referrers", digest, "..", "%2f", "", "a"),
    );
    fc.assert(
      fc.property(fc.constantFrom("GET", "PUT", "PATCH", "DELETE"), fc.array(segment, { maxLength: 7 }), (method, segments) => {
        codeOf(method, `/v2/${segments.join("/")}`);
      }),
    );
  });
});
