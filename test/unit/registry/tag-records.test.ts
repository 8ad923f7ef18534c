import { describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository, parseTag } from "../../../oci/repository.ts";
import type { Bucket } from "../../../registry/bucket/bucket.ts";
import { moveTag, readTag } from "../../../registry/manifests/tag-records.ts";

const signal = AbortSignal.timeout(60_000);

/** A bucket of which other writers change the object before each of the first writes. */
function contendedBucket(losses: number): Bucket {
  let stored: Uint8Array | undefined;
  let revision = 0;
  return {
    get: async () => (stored === undefined ? undefined : { bytes: stored, etag: String(revision), contentType: "" }),
    async putIf(condition, _key, bytes) {
      if (revision < losses) revision += 1;
      if (condition.if === "unchanged" ? condition.etag !== String(revision) : stored !== undefined) return false;
      stored = bytes;
      return true;
    },
  } as Partial<Bucket> as Bucket;
}

describe("a tag", () => {
  it("is moved by each of many writers, however often one of them comes too late", async () => {
    const [repository, tag] = [parseRepository("org/app"), parseTag("latest")];
    const bucket = contendedBucket(12);
    for (const text of ["first", "second"]) {
      const descriptor = { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digestOf(text), size: 5 };
      await moveTag(bucket, repository, tag, descriptor, undefined, signal);
      expect(await readTag(bucket, repository, tag, signal)).toEqual(descriptor);
    }
  });
});
