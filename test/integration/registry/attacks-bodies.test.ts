import { randomBytes, randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { type AttackTarget, openAttackTarget } from "./attack-target.ts";

const repository = "attacked/bodies";
const uploads = `/v2/${repository}/blobs/uploads/`;
const mebibyte = 1024 * 1024;

describe("the registry keeps nothing of a body", () => {
  let target: AttackTarget;

  beforeAll(async () => {
    target = await openAttackTarget();
  });
  afterAll(() => target[Symbol.asyncDispose]());

  const lines = (...text: string[]) => `${text.join("\r\n")}\r\n\r\n`;
  const codeOf = async (answer: Response): Promise<string | undefined> =>
    ((await answer.json()) as { errors: { code: string }[] }).errors[0]?.code;

  it.each([
    ["small", 1000],
    ["larger than a part", 20 * mebibyte],
  ])("whose digest is another: %s", async (_size, sizeBytes) => {
    await target.leavesNothing(async () => {
      const bytes = randomBytes(sizeBytes);
      const whole = await fetch(`${target.url}${uploads}?digest=${digestOf("other")}`, { method: "POST", body: bytes });
      expect([whole.status, await codeOf(whole)]).toEqual([400, "DIGEST_INVALID"]);
      const location = await target.startUpload(repository);
      expect((await fetch(`${target.url}${location}`, { method: "PATCH", body: bytes })).status).toBe(202);
      const finished = await fetch(`${target.url}${location}?digest=${digestOf("other")}`, { method: "PUT" });
      expect([finished.status, await codeOf(finished)]).toEqual([400, "DIGEST_INVALID"]);
    });
  });

  it("that is cut off before its end", async () => {
    const bytes = randomBytes(3 * mebibyte);
    await target.leavesNothing(async () => {
      const header = lines(`POST ${uploads}?digest=${digestOf(bytes)} HTTP/1.1`, "host: x", `content-length: ${bytes.length}`);
      const socket = await target.openConnection();
      await new Promise((resolve) => socket.write(Buffer.concat([Buffer.from(header), bytes.subarray(0, mebibyte)]), resolve));
      socket.destroy();
      // a half-closed one says that there is no more to come
      const said = await target.sendRaw(Buffer.concat([Buffer.from(header), bytes.subarray(0, mebibyte)]), undefined, true);
      expect(said.statuses.every((status) => status >= 400)).toBe(true);
    });
    expect((await fetch(`${target.url}/v2/${repository}/blobs/${digestOf(bytes)}`, { method: "HEAD" })).status).toBe(404);
  });

  it("beyond its Content-Length: the rest is the next request, or none", async () => {
    const bytes = Buffer.from("as long as it says");
    const header = lines(`POST ${uploads}?digest=${digestOf(bytes)} HTTP/1.1`, "host: x", `content-length: ${bytes.length}`);
    const said = await target.sendRaw(`${header}${bytes.toString()}and a little more\r\n\r\n`);
    expect(said.statuses, said.text).toEqual([201]);
    const stored = await fetch(`${target.url}/v2/${repository}/blobs/${digestOf(bytes)}`);
    expect(await stored.text()).toBe(bytes.toString());
  });

  it.each([
    ["a size that is no number", "zz\r\nhello\r\n0\r\n\r\n"],
    ["a size beyond any number", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"],
    ["a chunk longer than it says", "3\r\nhello\r\n0\r\n\r\n"],
    ["a negative size", "-5\r\nhello\r\n0\r\n\r\n"],
    ["an extension of a megabyte", `5;${"x".repeat(mebibyte)}\r\nhello\r\n0\r\n\r\n`],
  ])("in chunks with %s", async (_what, body) => {
    await target.leavesNothing(async () => {
      const header = lines(`POST ${uploads}?digest=${digestOf("hello")} HTTP/1.1`, "host: x", "transfer-encoding: chunked");
      const said = await target.sendRaw(header + body);
      expect(
        said.statuses.every((status) => status >= 400 && status < 500),
        said.text,
      ).toBe(true);
    });
  });

  it("that claims to be compressed, but what was sent: it is stored as it came, and inflated by nobody", async () => {
    const bomb = gzipSync(Buffer.alloc(300 * mebibyte));
    const before = await target.residentBytes();
    const headers = { "content-encoding": "gzip" };
    const answer = await fetch(`${target.url}${uploads}?digest=${digestOf(bomb)}`, { method: "POST", body: bomb, headers });
    expect(answer.status).toBe(201);
    expect((await target.residentBytes()) - before).toBeLessThan(150 * mebibyte);
    await target.leavesNothing(async () => {
      const inflated = digestOf("inflated");
      const refused = await fetch(`${target.url}${uploads}?digest=${inflated}`, { method: "POST", body: gzipSync("inflated"), headers });
      expect([refused.status, await codeOf(refused)]).toEqual([400, "DIGEST_INVALID"]);
    });
  });

  it.each([
    ["5-9", "hello", 416, "SIZE_INVALID"],
    ["0-99", "hello", 400, "SIZE_INVALID"],
    ["4-0", "hello", 400, undefined],
    ["x-y", "hello", 416, "SIZE_INVALID"],
    ["0-99999999999999999999", "hello", 416, "SIZE_INVALID"],
  ])("out of place: Content-Range %s", async (range, body, status, code) => {
    const location = await target.startUpload(repository);
    const answer = await fetch(`${target.url}${location}`, { method: "PATCH", body, headers: { "content-range": range } });
    // either way of saying no: the range is out of order, or it contradicts the body
    expect(code === undefined ? [400, 416] : [status]).toContain(answer.status);
    const standing = await fetch(`${target.url}${location}`);
    expect([standing.status, standing.headers.get("range")]).toEqual([204, "0-0"]);
    expect((await fetch(`${target.url}${location}`, { method: "DELETE" })).status).toBe(204);
  });

  it("of requests that take none", async () => {
    await target.leavesNothing(async () => {
      const body = "x".repeat(100_000);
      for (const method of ["GET", "HEAD", "DELETE"]) {
        const said = await target.sendRaw(
          `${lines(`${method} /v2/${repository}/tags/list HTTP/1.1`, "host: x", `content-length: ${body.length}`)}${body}${lines("GET /v2/ HTTP/1.1", "host: x", "connection: close")}`,
        );
        expect(said.statuses.at(-1), said.text).toBe(200);
        expect(said.statuses).toHaveLength(2);
      }
    });
  });

  it("serves on beside 10,000 open uploads, in bounded memory", async () => {
    const before = await target.residentBytes();
    const names = Array.from({ length: 10_000 }, (_, index) => `attacked/open-${index % 50}`);
    const open = async () => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        const answer = await fetch(`${target.url}/v2/${name}/blobs/uploads/`, { method: "POST" });
        await answer.arrayBuffer();
        expect(answer.status).toBe(202);
      }
    };
    await Promise.all(Array.from({ length: 32 }, open));
    const bytes = randomBytes(6 * mebibyte);
    await target.pushBlob(`attacked/${randomUUID().slice(0, 8)}`, bytes);
    await target.serves();
    expect((await target.residentBytes()) - before).toBeLessThan(200 * mebibyte);
  }, 110_000);
});
