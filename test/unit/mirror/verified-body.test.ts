import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { verifiedBody } from "../../../mirror/pull/verified-body.ts";
import { digestOf } from "../../../oci/digest.ts";

const chunks = (bytes: Buffer, size: number) =>
  Readable.from(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size)),
    { objectMode: false },
  );

describe("verifiedBody", () => {
  it("passes on the bytes that the digest names", async () => {
    const bytes = randomBytes(1_000_003);
    const read = await verifiedBody(chunks(bytes, 65_536), digestOf(bytes)).toArray();
    expect(Buffer.concat(read).equals(bytes)).toBe(true);
  });

  it("passes on no bytes at all", async () => {
    expect(await verifiedBody(Readable.from([]), digestOf("")).toArray()).toEqual([]);
  });

  it.each([1, 3, 100])("fails before a reader of wrong bytes has them all, %i chunks", async (count) => {
    const bytes = randomBytes(count * 1000);
    let receivedBytes = 0;
    const reading = (async () => {
      for await (const chunk of verifiedBody(chunks(bytes, 1000), digestOf("other"))) receivedBytes += (chunk as Buffer).length;
    })();
    await expect(reading).rejects.toThrow(/upstream sent/);
    expect(receivedBytes).toBeLessThan(bytes.length);
  });

  it("destroys its source when the reader goes away", async () => {
    const source = chunks(randomBytes(1_000_000), 1000);
    const body = verifiedBody(source, digestOf("x"));
    body.destroy();
    await expect.poll(() => source.destroyed, { timeout: 30_000 }).toBe(true);
  });

  it("breaks off at once, with the source, while that sends nothing", async () => {
    const source = new Readable({ read: () => undefined });
    source.push(Buffer.alloc(100_000));
    const body = verifiedBody(source, digestOf("x"));
    const reading = body.toArray();
    body.destroy(new Error("it stands still"));
    await expect(reading).rejects.toThrow("it stands still");
    await expect.poll(() => source.destroyed, { timeout: 30_000 }).toBe(true);
  });

  it("fails with its source", async () => {
    const source = new Readable({ read: () => undefined });
    const reading = verifiedBody(source, digestOf("x")).toArray();
    source.destroy(new Error("the connection ended"));
    await expect(reading).rejects.toThrow("the connection ended");
  });
});
