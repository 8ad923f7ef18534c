import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { openContainerd } from "../../../containerd/client.ts";
import {
  ContentMismatchError,
  openContentWriter,
  readBlob,
  readBlobBytes,
  setLabels,
  statBlob,
  writeBlob,
} from "../../../containerd/content.ts";
import { createLease, deleteLease, leaseResources, openLease } from "../../../containerd/leases.ts";
import { digestOf } from "../../../oci/digest.ts";
import { isOldContainerd } from "../../support/containerd-release.ts";
import { type ScratchNamespace, openScratchNamespace } from "../../support/scratch-namespace.ts";

const isOld = isOldContainerd(inject("containerdRelease"));

describe("containerd content", () => {
  let scratch: ScratchNamespace;
  const signal = AbortSignal.timeout(120_000);
  const lease = (id: string) => openLease(scratch.containerd, scratch.name, { id, expiresAtMs: Date.now() + 600_000 }, signal);
  const ingests = async () => (await scratch.ns.content.listStatuses({}, { signal })).statuses.map((status) => status.ref);

  beforeAll(async () => {
    scratch = await openScratchNamespace(inject("containerdSocket"));
  });
  afterAll(() => scratch[Symbol.asyncDispose]());

  it("takes chunks of any size, over a stream that stays open between them, and reads them back byte for byte", async () => {
    await using held = await lease("chunks");
    const bytes = randomBytes(5 * 1024 * 1024 + 17);
    await using writer = openContentWriter(held.namespace, { ref: "chunks" }, signal);
    for (let start = 0, size = 1; start < bytes.length; start += size, size = size * 3 + 1)
      await writer.write(bytes.subarray(start, start + size));
    expect(writer.offsetBytes).toBe(bytes.length);
    await writer.commit({ digest: digestOf(bytes), sizeBytes: bytes.length, labels: { kept: "yes" } });

    expect(await statBlob(scratch.ns, digestOf(bytes), signal)).toEqual({
      digest: digestOf(bytes),
      sizeBytes: bytes.length,
      labels: { kept: "yes" },
    });
    const whole = await readBlob(scratch.ns, digestOf(bytes), undefined, signal).toArray();
    expect(Buffer.concat(whole).equals(bytes)).toBe(true);
    const part = await readBlob(scratch.ns, digestOf(bytes), { first: 1000, last: 2_000_000 }, signal).toArray();
    expect(Buffer.concat(part).equals(bytes.subarray(1000, 2_000_001))).toBe(true);
  });

  it("stores a blob without bytes", async () => {
    await using held = await lease("empty");
    await writeBlob(held.namespace, Buffer.alloc(0), { digest: digestOf(""), size: 0 }, {}, signal);
    expect((await statBlob(scratch.ns, digestOf(""), signal))?.sizeBytes).toBe(0);
    expect(await readBlob(scratch.ns, digestOf(""), undefined, signal).toArray()).toEqual([]);
  });

  it("refuses bytes of another digest and leaves no ingest behind", async () => {
    await using held = await lease("wrong");
    await using writer = openContentWriter(held.namespace, { ref: "wrong" }, signal);
    await writer.write(Buffer.from("these bytes"));
    await expect(writer.commit({ digest: digestOf("other bytes"), sizeBytes: 11, labels: {} })).rejects.toThrow(ContentMismatchError);
    await writer.abort();
    expect(await ingests()).not.toContain("wrong");
  });

  it("refuses wrong bytes for a digest that is there already, which containerd would not", async () => {
    await using held = await lease("claim");
    await writeBlob(held.namespace, Buffer.from("a secret"), { digest: digestOf("a secret"), size: 8 }, {}, signal);
    await using writer = openContentWriter(held.namespace, { ref: "claim" }, signal);
    await writer.write(Buffer.from("a guess!"));
    await expect(writer.commit({ digest: digestOf("a secret"), sizeBytes: 8, labels: { mine: "1" } })).rejects.toThrow(
      ContentMismatchError,
    );
    expect((await statBlob(scratch.ns, digestOf("a secret"), signal))?.labels).toEqual({});
  });

  it.skipIf(isOld)("refuses wrong bytes of a sha512 digest", async () => {
    await using held = await lease("sha512");
    await using writer = openContentWriter(held.namespace, { ref: "sha512" }, signal);
    await writer.write(Buffer.from("these bytes"));
    await expect(writer.commit({ digest: digestOf("other bytes", "sha512"), sizeBytes: 11, labels: {} })).rejects.toThrow(
      ContentMismatchError,
    );
    await writer.abort();
    await writeBlob(held.namespace, Buffer.from("x"), { digest: digestOf("x", "sha512"), size: 1 }, {}, signal);
    expect((await statBlob(scratch.ns, digestOf("x", "sha512"), signal))?.sizeBytes).toBe(1);
  });

  it.runIf(isOld)("says that it takes no sha512, and leaves no ingest behind", async () => {
    await using held = await lease("sha512");
    await expect(writeBlob(held.namespace, Buffer.from("x"), { digest: digestOf("x", "sha512"), size: 1 }, {}, signal)).rejects.toThrow(
      "this containerd has no sha512",
    );
    expect(await ingests()).toEqual([]);
  });

  it.skipIf(isOld)("compares the bytes with sha512 content that is there already, announced as such or not", async () => {
    await using held = await lease("sha512-again");
    const bytes = randomBytes(300_000);
    const digest = digestOf(bytes, "sha512");
    const commit = async (ref: string, content: Buffer, labels: Record<string, string>) => {
      await using writer = openContentWriter(held.namespace, { ref }, signal);
      await writer.write(content);
      await writer.commit({ digest, sizeBytes: content.length, labels });
    };
    await commit("sha512-first", bytes, { first: "1" });
    await commit("sha512-second", bytes, { second: "2" });
    await expect(commit("sha512-wrong", randomBytes(300_000), { wrong: "3" })).rejects.toThrow(ContentMismatchError);
    expect((await statBlob(scratch.ns, digest, signal))?.labels).toEqual({ first: "1", second: "2" });
    expect(await ingests()).not.toContain("sha512-wrong");
  });

  it("says UNAVAILABLE when containerd is not there", async () => {
    const away = openContainerd("/nonexistent/containerd.sock");
    const writer = openContentWriter(away.namespace(scratch.name), { ref: "away" }, signal);
    await expect(async () => {
      for (let i = 0; i < 20; i += 1) await writer.write(Buffer.alloc(1024 * 1024));
    }).rejects.toThrow(/UNAVAILABLE.*nonexistent/);
    await away[Symbol.asyncDispose]();
  });

  it("leaves no ingest when the caller is cancelled", async () => {
    await using held = await lease("cancelled");
    const caller = new AbortController();
    const writer = openContentWriter(held.namespace, { ref: "cancelled" }, caller.signal);
    await writer.write(randomBytes(1024 * 1024));
    caller.abort();
    await expect(async () => {
      for (let i = 0; i < 20; i += 1) await writer.write(randomBytes(1024 * 1024));
    }).rejects.toThrow();
    await writer.abort();
    expect(await ingests()).not.toContain("cancelled");
  });

  it("puts content that exists under the second writer's lease and adds its labels to those that are there", async () => {
    const bytes = randomBytes(1000);
    const descriptor = { digest: digestOf(bytes), size: bytes.length };
    await using first = await lease("first");
    await writeBlob(first.namespace, bytes, descriptor, { one: "1" }, signal);
    await using second = await lease("second");
    await using writer = openContentWriter(second.namespace, { ref: "second" }, signal);
    await writer.write(bytes);
    await writer.commit({ digest: descriptor.digest, sizeBytes: bytes.length, labels: { two: "2" } });
    expect(await leaseResources(scratch.ns, "second", signal)).toMatchObject([{ type: "content", id: descriptor.digest }]);
    expect((await statBlob(scratch.ns, descriptor.digest, signal))?.labels).toEqual({ one: "1", two: "2" });

    await using third = await lease("third");
    await writeBlob(third.namespace, bytes, descriptor, { three: "3" }, signal);
    await deleteLease(scratch.ns, "first", signal, true);
    await deleteLease(scratch.ns, "second", signal, true);
    expect((await statBlob(scratch.ns, descriptor.digest, signal))?.labels).toEqual({ one: "1", two: "2", three: "3" });
  });

  it("loses unleased content to the collector and keeps leased content", async () => {
    await createLease(scratch.ns, { id: "keeps", expiresAtMs: Date.now() + 600_000 }, signal);
    await createLease(scratch.ns, { id: "keeps" }, signal);
    const held = scratch.containerd.namespace(scratch.name, "keeps");
    const [kept, lost] = [randomBytes(500), randomBytes(500)];
    await writeBlob(held, kept, { digest: digestOf(kept), size: 500 }, {}, signal);
    await writeBlob(scratch.ns, lost, { digest: digestOf(lost), size: 500 }, {}, signal);
    await scratch.collect();
    expect(await statBlob(scratch.ns, digestOf(kept), signal)).toBeDefined();
    expect(await statBlob(scratch.ns, digestOf(lost), signal)).toBeUndefined();
    await deleteLease(scratch.ns, "keeps", signal, true);
    await deleteLease(scratch.ns, "keeps", signal);
    expect(await statBlob(scratch.ns, digestOf(kept), signal)).toBeUndefined();
  });

  it("sets labels without taking others' away, and says NOT_FOUND for absent content", async () => {
    await using held = await lease("labels");
    await writeBlob(
      held.namespace,
      Buffer.from("labelled"),
      { digest: digestOf("labelled"), size: 8 },
      { "containerd.io/gc.ref.content.0": "x" },
      signal,
    );
    await setLabels(held.namespace, digestOf("labelled"), { mine: "1" }, signal);
    expect((await statBlob(scratch.ns, digestOf("labelled"), signal))?.labels).toEqual({
      "containerd.io/gc.ref.content.0": "x",
      mine: "1",
    });
    await expect(setLabels(held.namespace, digestOf("absent"), { mine: "1" }, signal)).rejects.toThrow(/NOT_FOUND/);
  });

  it("reads small blobs whole and refuses larger ones", async () => {
    await using held = await lease("small");
    await writeBlob(held.namespace, Buffer.from("small"), { digest: digestOf("small"), size: 5 }, {}, signal);
    expect((await readBlobBytes(scratch.ns, digestOf("small"), { limitBytes: 5 }, signal)).toString()).toBe("small");
    await expect(readBlobBytes(scratch.ns, digestOf("small"), { limitBytes: 4 }, signal)).rejects.toThrow(
      /found 5 bytes, expected at most 4/,
    );
  });
});
