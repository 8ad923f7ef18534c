import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../../oci/digest.ts";
import { type AttackTarget, hear, openAttackTarget } from "./attack-target.ts";

const repository = "attacked/http";
const blob = Buffer.from("0123456789");
const uploads = "/v2/attacked/http/blobs/uploads/";
/** a whole blob in one request: what breaks off leaves nothing, not even an upload to go on with */
const upload = `${uploads}?digest=${digestOf("hello")}`;

describe("the registry", () => {
  let target: AttackTarget;

  beforeAll(async () => {
    target = await openAttackTarget();
    await target.pushBlob(repository, blob);
  });
  afterAll(() => target[Symbol.asyncDispose]());

  const lines = (...text: string[]) => `${text.join("\r\n")}\r\n\r\n`;

  it.each([
    ["a header of 100 KiB", lines("GET /v2/ HTTP/1.1", "host: x", `x-big: ${"a".repeat(100_000)}`), 431],
    ["1,000 headers", lines("GET /v2/ HTTP/1.1", "host: x", ...Array.from({ length: 1000 }, (_, i) => `x-${i}: ${"v".repeat(20)}`)), 431],
    ["a path of 100 KiB", lines(`GET /v2/${"a".repeat(100_000)} HTTP/1.1`, "host: x"), 431],
    ["a method that is none", lines("FROBNICATE /v2/ HTTP/1.1", "host: x"), 400],
    ["no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", 400],
    ["a NUL in a header", lines("GET /v2/ HTTP/1.1", "host: x", "x-a: b\0c"), 400],
    ["a folded header", lines("GET /v2/ HTTP/1.1", "host: x", "x-a: b", " c"), 400],
    ["a space before a colon", lines("POST /v2/a/blobs/uploads/ HTTP/1.1", "host: x", "content-length : 5") + "hello", 400],
    ["two lengths", lines(`POST ${upload} HTTP/1.1`, "host: x", "content-length: 5", "content-length: 6") + "hello!", 400],
    [
      "a length and chunks",
      lines(`POST ${upload} HTTP/1.1`, "host: x", "content-length: 5", "transfer-encoding: chunked") + "0\r\n\r\n",
      400,
    ],
    [
      "chunks that are not the last coding",
      lines(`POST ${upload} HTTP/1.1`, "host: x", "transfer-encoding: chunked, identity") + "0\r\n\r\n",
      400,
    ],
    ["a coding that looks like chunks", lines(`POST ${upload} HTTP/1.1`, "host: x", "transfer-encoding: xchunked") + "0\r\n\r\n", 400],
    ["a negative length", lines(`POST ${upload} HTTP/1.1`, "host: x", "content-length: -5"), 400],
    ["a length beyond any number", lines(`POST ${upload} HTTP/1.1`, "host: x", `content-length: ${"9".repeat(40)}`), 400],
    ["no host", lines("GET /v2/ HTTP/1.1", "connection: close"), 400],
    ["bare line feeds", "GET /v2/ HTTP/1.1\nhost: x\n\n", 400],
  ])("refuses %s, and closes the connection", async (_what, bytes, status) => {
    await target.leavesNothing(async () => {
      const said = await target.sendRaw(bytes);
      expect(said.statuses, said.text).toEqual([status]);
    });
  });

  it("says what it refuses at the parser as the spec has errors", async () => {
    const { text, codes } = await target.sendRaw(lines("GET /v2/ HTTP/1.1", "host: x", `x-big: ${"a".repeat(100_000)}`));
    expect(codes).toEqual(["UNSUPPORTED"]);
    expect(JSON.parse(text.slice(text.indexOf("{")))).toEqual({ errors: [{ code: "UNSUPPORTED", message: "request headers too large" }] });
  });

  it("does not take a request that hides in a body for a request", async () => {
    const hidden = lines("DELETE /v2/attacked/http/blobs/x HTTP/1.1", "host: x");
    await target.leavesNothing(async () => {
      const get = lines("GET /v2/ HTTP/1.1", "host: x", `content-length: ${hidden.length}`) + hidden;
      const said = await target.sendRaw(get + lines("GET /v2/ HTTP/1.1", "host: x", "connection: close"));
      expect(said.statuses).toEqual([200, 200]);
      const head = lines("HEAD /v2/ HTTP/1.1", "host: x", `content-length: ${hidden.length}`) + hidden;
      const headed = await target.sendRaw(head + lines("GET /v2/ HTTP/1.1", "host: x", "connection: close"));
      expect(headed.statuses).toEqual([200, 200]);
    });
  });

  it("refuses what a client pipelines beyond measure, each in its turn, and stays up", async () => {
    const one = lines(`GET /v2/${repository}/blobs/${digestOf(blob)} HTTP/1.1`, "host: x");
    await target.leavesNothing(async () => {
      const { statuses, codes } = await target.sendRaw(one.repeat(1000));
      expect(statuses.length).toBeGreaterThan(0);
      expect(new Set(statuses)).toEqual(new Set([200, 429]));
      expect(statuses.filter((status) => status === 200).length).toBeLessThanOrEqual(16);
      expect(new Set(codes)).toEqual(new Set(["TOOMANYREQUESTS"]));
    });
    const few = await target.sendRaw(one.repeat(5) + lines("GET /v2/ HTTP/1.1", "host: x", "connection: close"));
    expect(few.statuses).toEqual([200, 200, 200, 200, 200, 200]);
  });

  it("cuts off who sends headers drop by drop, and who sends nothing at all", async () => {
    await target.leavesNothing(async () => {
      const [dripping, silent] = [await target.openConnection(), await target.openConnection()];
      dripping.write("GET /v2/ HTTP/1.1\r\nhost: x\r\n");
      const timer = setInterval(() => dripping.write("x-drop: 1\r\n"), 300);
      const [said] = await Promise.all([hear(dripping), hear(silent)]);
      clearInterval(timer);
      expect(said.statuses).toEqual([408]);
      expect(said.codes).toEqual(["UNSUPPORTED"]);
    });
  });

  it("cuts off who lets a body drip, and keeps nothing of it", async () => {
    const location = await target.startUpload(repository);
    const socket = await target.openConnection();
    socket.write(lines(`PATCH ${location} HTTP/1.1`, "host: x", "content-length: 1000000"));
    const timer = setInterval(() => socket.write("."), 300);
    await hear(socket, undefined, 60_000);
    clearInterval(timer);
    await target.serves();
    expect((await fetch(`${target.url}${location}`, { method: "DELETE" })).status).toBe(204);
  }, 100_000);

  it("survives a flood of connections: those above the limit are closed, the others served", async () => {
    const before = await target.openFiles();
    const flood = await Promise.all(
      Array.from({ length: 4500 }, async (_, index) => {
        await sleep(index / 10);
        return target.openConnection().catch(() => undefined);
      }),
    );
    const sockets = flood.filter((socket) => socket !== undefined);
    await expect
      .poll(() => target.metric('slipway_registry_refused_connections_total{reason="limit"}'), { timeout: 20_000 })
      .toBeGreaterThan(0);
    // one that came in time is served
    const served = sockets.find((socket) => !socket.destroyed && socket.writable)!;
    served.write(lines("GET /v2/ HTTP/1.1", "host: x", "connection: close"));
    expect((await hear(served)).statuses).toEqual([200]);
    for (const socket of sockets) socket.destroy();
    await target.serves();
    await expect.poll(() => target.openFiles(), { timeout: 30_000 }).toBeLessThan(before + 50);
  }, 100_000);

  it.each([
    ["bytes=0-", 206],
    ["bytes=-5", 206],
    ["bytes=9-9", 206],
    ["bytes=0-999999999999", 206],
    ["bytes=10-", 416],
    ["bytes=-0", 416],
  ])("answers the range %s with %d", async (range, status) => {
    const answer = await fetch(`${target.url}/v2/${repository}/blobs/${digestOf(blob)}`, { headers: { range } });
    expect(answer.status).toBe(status);
    if (status === 206) expect(blob.includes(Buffer.from(await answer.arrayBuffer()))).toBe(true);
  });

  it.each([
    "bytes=5-2",
    "bytes=0-0,2-2,4-4",
    `bytes=${Array.from({ length: 1000 }, (_, i) => `${i}-`).join()}`,
    "bytes=99999999999999999999-",
    "bytes=-99999999999999999999",
    "bytes=1e3-",
    "bytes=",
    "lines=0-5",
  ])("ignores or refuses the range %s, which is no single range of bytes", async (range) => {
    const answer = await fetch(`${target.url}/v2/${repository}/blobs/${digestOf(blob)}`, { headers: { range } });
    expect([200, 416]).toContain(answer.status);
    if (answer.status === 200) expect(Buffer.from(await answer.arrayBuffer())).toEqual(blob);
  });

  it.each(["-1", "1e9", "NaN", "0x10", "1.5", " 1", "9".repeat(30), "1;drop", "%00"])("refuses %s for the number of tags", async (n) => {
    const answer = await fetch(`${target.url}/v2/${repository}/tags/list?n=${n}`);
    expect(answer.status).toBe(400);
  });

  it.each(["0", "1", "999999999", "1&n=5", ""])("takes no more than there is when asked for %s tags", async (n) => {
    const before = await target.residentBytes();
    const answer = await fetch(`${target.url}/v2/${repository}/tags/list?n=${n}`);
    expect([200, 400, 404]).toContain(answer.status);
    await answer.arrayBuffer();
    expect((await target.residentBytes()) - before).toBeLessThan(100 * 1024 * 1024);
  });

  it("lists no repositories", async () => {
    expect((await fetch(`${target.url}/v2/_catalog?n=1000000000`)).status).toBe(404);
  });

  it("asks a client that waits for it to go on, and refuses expectations that it does not know", async () => {
    const socket = await target.openConnection();
    const body = Buffer.from("expected");
    socket.write(
      lines(
        `POST ${uploads}?digest=${digestOf(body)} HTTP/1.1`,
        "host: x",
        `content-length: ${body.length}`,
        "expect: 100-continue",
        "connection: close",
      ),
    );
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(first.toString()).toContain("100 Continue");
    socket.write(body);
    expect((await hear(socket)).statuses).toEqual([201]);
    const unknown = await target.sendRaw(lines("GET /v2/ HTTP/1.1", "host: x", "expect: miracles", "connection: close"));
    expect(unknown.statuses).toEqual([417]);
  });
});
