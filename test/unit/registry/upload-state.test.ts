import { describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { parseRepository } from "../../../oci/repository.ts";
import {
  type UploadState,
  beginFinish,
  claimParts,
  endUpload,
  receivedBytes,
  settleBody,
  startUpload,
  uploadState,
} from "../../../registry/uploads/upload-state.ts";

const stamp = (revision: string) => ({ atMs: 1000, revision });
const multipart = { key: "bytes/aa/aa-1", uploadId: "u" };
const part = (number: number, sizeBytes = 10) => ({ number, etag: `e${number}`, sizeBytes });
const started = startUpload(
  { repository: parseRepository("org/app"), algorithm: "sha256", plan: { sizes: "growing", firstPartBytes: 8 } },
  stamp("0"),
);
const claimed = (state: UploadState, stored: ReturnType<typeof part>[] = [], upToPart = 16) =>
  claimParts(state, { instance: "a", multipart, upToPart, stored }, stamp("c"));

describe("the state of an upload", () => {
  it("begins with nothing, open, and is what the bucket gives back", () => {
    expect(receivedBytes(started)).toBe(0);
    expect(started).toMatchObject({ phase: "open", parts: [], reservedParts: 0 });
    expect(uploadState.parse(JSON.parse(JSON.stringify(started)))).toEqual(started);
  });

  it("keeps a short body as its tail, without a part", () => {
    const state = settleBody(started, { stored: [], rest: { key: "t", sizeBytes: 3 }, lastSentPart: undefined }, stamp("1"));
    expect(receivedBytes(state)).toBe(3);
    expect(state).toMatchObject({ tail: { key: "t" }, reservedParts: 0, revision: "1" });
  });

  it("counts the tail once, be it an object or the beginning of the first part", () => {
    const withTail = settleBody(started, { stored: [], rest: { key: "t", sizeBytes: 3 }, lastSentPart: undefined }, stamp("1"));
    expect(receivedBytes(claimed(withTail))).toBe(3);
    const sent = claimed(withTail, [part(1)]);
    expect(sent.tail).toBeUndefined();
    expect(receivedBytes(sent)).toBe(10);
  });

  it("gives numbers back that were reserved in vain, once all that was sent is stored", () => {
    const state = settleBody(claimed(started), { stored: [part(1), part(2)], rest: undefined, lastSentPart: 2 }, stamp("2"));
    expect(state).toMatchObject({ reservedParts: 2 });
    expect(state.claim).toBeUndefined();
  });

  it("keeps them reserved while S3 may still be storing what was sent", () => {
    const state = settleBody(claimed(started), { stored: [part(1)], rest: undefined, lastSentPart: undefined }, stamp("2"));
    expect(state).toMatchObject({ reservedParts: 16, parts: [part(1)] });
  });

  it("leaves the tail when no part could be stored", () => {
    const withTail = settleBody(started, { stored: [], rest: { key: "t", sizeBytes: 3 }, lastSentPart: undefined }, stamp("1"));
    const state = settleBody(claimed(withTail), { stored: [], rest: undefined, lastSentPart: undefined }, stamp("2"));
    expect(state.tail).toEqual({ key: "t", sizeBytes: 3 });
    expect(receivedBytes(state)).toBe(3);
  });

  it("differs with every change, so that no ETag comes twice", () => {
    const digest = digestOf("x");
    const changes = [started, claimed(started), beginFinish(started, digest, stamp("f")), endUpload(started, stamp("e"))];
    expect(new Set(changes.map((state) => JSON.stringify(state))).size).toBe(changes.length);
    expect(beginFinish(started, digest, stamp("f"))).toMatchObject({ phase: "finishing", digest });
    expect(endUpload(started, stamp("e")).phase).toBe("ended");
  });
});
