import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createTransfers } from "../../../mirror/peers/own-content.ts";
import type { Peer } from "../../../mirror/peers/location-client.ts";
import { createPeers } from "../../../mirror/peers/peers.ts";
import type { Digest } from "../../../oci/digest.ts";
import { UpstreamError } from "../../../oci/distribution-client.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseRepository } from "../../../oci/repository.ts";
import { blobOf, manifestOf } from "../../support/test-image.ts";

const signal = new AbortController().signal;
const repository = parseRepository("acme/web");
const layer = blobOf("layer", mediaTypes.layerTar);
const manifest = manifestOf(blobOf("{}", mediaTypes.imageConfig), [layer]);
const peer = (host: string): Peer => ({ host, url: `http://${host}` });
const failed = (status: number) => new UpstreamError("on purpose", { code: "X", status, url: "http://x" });

type Answer = "has it" | "has it not" | "lies" | "is busy twice" | Error;

function peersOf(answers: Readonly<Record<string, Answer>>, isKnown = true, busyPatienceMs = 60_000) {
  const asked: string[] = [];
  const removed: string[] = [];
  const looked: Digest[] = [];
  const peers = createPeers({
    ownHost: "me",
    book: {
      find: async (_repository, digest) => {
        looked.push(digest);
        return isKnown ? Object.keys(answers).map(peer) : undefined;
      },
      known: () => Object.keys(answers).map(peer),
      remove: (_repository, _digest, host) => void removed.push(host),
    },
    announcer: { has: () => undefined },
    clientOf: (url) => ({
      readBlob: async () => {
        asked.push(url);
        const answer = answers[new URL(url).host]!;
        if (answer instanceof Error) throw answer;
        if (answer === "has it not") return undefined;
        if (answer === "is busy twice" && asked.filter((one) => one === url).length <= 2) throw failed(429);
        const bytes = answer === "lies" ? Buffer.from("other") : layer.bytes;
        return { sizeBytes: bytes.length, body: Readable.from([bytes], { objectMode: false }) };
      },
      readManifest: async () => manifest,
    }),
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    busyPatienceMs,
  });
  const read = async (): Promise<string> => {
    const { body } = await peers.source.blobs.read(repository, layer.descriptor.digest, undefined, signal);
    return Buffer.concat((await body.toArray()) as Buffer[]).toString();
  };
  return { ...peers, read, asked, removed, looked };
}

describe("other hosts as a source", () => {
  it("are asked for a blob by the manifests that name it, and for none of which none was read", async () => {
    const { read, saw, asked, looked } = peersOf({ a: "has it" });
    await expect(read()).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    expect([asked, looked]).toEqual([[], []]);
    saw(repository, manifest);
    expect(await read()).toBe("layer");
    expect(looked).toEqual([manifest.descriptor.digest]);
  });

  it("are asked one after another, and those that lack it are forgotten", async () => {
    const { read, saw, asked, removed } = peersOf({ a: "has it not", b: "has it" });
    saw(repository, manifest);
    expect(await read()).toBe("layer");
    expect(asked).toEqual(["http://a", "http://b"]);
    expect(removed).toEqual(["a"]);
  });

  it("are asked again while they are busy with others, instead of upstream", async () => {
    const { read, saw, asked } = peersOf({ a: "is busy twice" });
    saw(repository, manifest);
    expect(await read()).toBe("layer");
    expect(asked).toEqual(["http://a", "http://a", "http://a"]);
  });

  it("are left for upstream when they are busy for too long, and are asked for the next blob all the same", async () => {
    const { read, saw, asked } = peersOf({ a: "is busy twice" }, true, -1);
    saw(repository, manifest);
    await expect(read()).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    await expect(read()).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    expect(await read()).toBe("layer");
    expect(asked).toHaveLength(3);
  });

  it.each([500, undefined])("lack it when they fail with %s, and are not asked again at once", async (status) => {
    const error = status === undefined ? new Error("no connection") : failed(status);
    const { read, saw, asked, removed } = peersOf({ a: error });
    saw(repository, manifest);
    await expect(read()).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    await expect(read()).rejects.toMatchObject({ code: "BLOB_UNKNOWN" });
    expect(asked).toEqual(["http://a"]);
    expect(removed).toEqual([]);
  });

  it("are not asked for a while after wrong bytes", async () => {
    const { read, saw, asked } = peersOf({ a: "lies", b: "has it" });
    saw(repository, manifest);
    await expect(read()).rejects.toThrow(/expected "sha256:/);
    expect(await read()).toBe("layer");
    expect(asked).toEqual(["http://a", "http://b"]);
  });

  it("are asked on the chance when nobody can tell who has it", async () => {
    const peers = peersOf({ a: "has it" }, false);
    peers.saw(repository, manifest);
    expect(await peers.read()).toBe("layer");
  });

  it("know nothing of tags", async () => {
    const { source, looked } = peersOf({ a: "has it" });
    expect(await source.manifests.read(repository, { kind: "tag", tag: "v1" as never }, signal)).toBeUndefined();
    expect(looked).toEqual([]);
    const byDigest = { kind: "digest", digest: manifest.descriptor.digest } as const;
    expect((await source.manifests.read(repository, byDigest, signal))?.bytes).toEqual(manifest.bytes);
  });
});

describe("transfers to other hosts", () => {
  it("are refused beyond their number, until one is closed", async () => {
    const transfers = createTransfers(1);
    const open = async () => ({ sizeBytes: 1, body: Readable.from(["x"], { objectMode: false }) });
    const { body } = await transfers.run(open);
    await expect(transfers.run(open)).rejects.toMatchObject({ code: "TOOMANYREQUESTS" });
    const closed = new Promise((resolve) => body.once("close", resolve));
    body.destroy();
    await closed;
    (await transfers.run(open)).body.destroy();
  });

  it("count none that did not begin", async () => {
    const transfers = createTransfers(1);
    await expect(transfers.run(() => Promise.reject(new Error("absent")))).rejects.toThrow("absent");
    (await transfers.run(async () => ({ sizeBytes: 0, body: Readable.from([]) }))).body.destroy();
  });
});
