import { PassThrough, Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { readManifestBody } from "../../../oci/routes/manifest-body.ts";

const of = (text: string) => () => Readable.from([Buffer.from(text)]);

describe("readManifestBody", () => {
  it("reads a body whole, with a length or without", async () => {
    expect(Buffer.from(await readManifestBody("2", of("{}"))).toString()).toBe("{}");
    expect(Buffer.from(await readManifestBody(undefined, of("{}"))).toString()).toBe("{}");
  });

  it("opens no body that says it is too long, and ends one that is", async () => {
    const unopened = () => expect.unreachable("opened") as never;
    await expect(readManifestBody(String(5 * 1024 * 1024), unopened)).rejects.toMatchObject({ code: "MANIFEST_TOO_LARGE" });
    await expect(readManifestBody(undefined, of("x".repeat(5 * 1024 * 1024)))).rejects.toMatchObject({ code: "MANIFEST_TOO_LARGE" });
  });

  it("reads 16 long ones at a time and has the next come again, while short ones pass", async () => {
    const slow = Array.from({ length: 16 }, () => new PassThrough());
    const reading = slow.map((body) => readManifestBody("1000000", () => body));
    await expect(readManifestBody("1000000", of("{}"))).rejects.toMatchObject({ code: "TOOMANYREQUESTS" });
    expect(await readManifestBody("2", of("{}"))).toHaveLength(2);
    for (const body of slow) body.end("{}");
    await Promise.all(reading);
    expect(await readManifestBody("1000000", of("{}"))).toHaveLength(2);
  });
});
