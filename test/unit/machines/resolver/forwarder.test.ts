import { encode } from "dns-packet";
import { expect, test } from "vitest";
import { createForwarder, type ForwarderOptions } from "../../../../machines/resolver/forwarder.ts";
import { flags, rcodes, withId } from "../../../../machines/resolver/wire.ts";
import { dataOf, question, read } from "./ask.ts";
import { openScriptedServer } from "./scripted-server.ts";

type AnswerOptions = { readonly ttl?: number; readonly set?: number; readonly count?: number };

function answer(query: Buffer, address: string, { ttl = 0, set = 0, count = 1 }: AnswerOptions = {}): Buffer {
  const { id = 0, questions = [] } = read(query);
  const record = { type: "A", name: questions[0]!.name, ttl, data: address } as const;
  return encode({ type: "response", id, flags: set, questions, answers: Array.from({ length: count }, () => record) });
}

const forwarderTo = (servers: ForwarderOptions["servers"], options: Partial<ForwarderOptions> = {}) =>
  createForwarder({ servers, tryTimeoutMs: 10_000, ...options });
const silent = () => openScriptedServer({ udp: () => [] });
const saying = (address: string, options?: AnswerOptions) => openScriptedServer({ udp: (query) => [answer(query, address, options)] });

test("a question is passed on and its answer brought back under its own id", async () => {
  await using server = await saying("192.0.2.1");
  const forwarder = forwarderTo(async () => [server]);
  for (const id of [0, 1, 65_535]) {
    const found = await forwarder.forward(question("example.com", "A", { id, payloadBytes: 1232 }));
    expect(read(found).id).toBe(id);
    expect(dataOf(found)).toEqual(["192.0.2.1"]);
  }
  expect(server.asked.udp).toBe(3);
});

test("one that is silent is left for the next, and not asked first again", async () => {
  await using dead = await silent();
  await using alive = await saying("192.0.2.2");
  const forwarder = forwarderTo(async () => [dead, alive], { tryTimeoutMs: 400 });
  for (let turn = 0; turn < 3; turn++) expect(dataOf(await forwarder.forward(question(`host-${turn}.example`)))).toEqual(["192.0.2.2"]);
  expect(dead.asked.udp).toBe(1);
});

test("one that nobody listens at is left at once", async () => {
  const gone = await silent();
  await gone[Symbol.asyncDispose]();
  await using alive = await saying("192.0.2.2");
  const forwarder = forwarderTo(async () => [{ address: gone.address, port: gone.port }, alive], { tryTimeoutMs: 600_000 });
  expect(dataOf(await forwarder.forward(question("example.com")))).toEqual(["192.0.2.2"]);
});

test("one that fails is left for the next; when all do, what the first said is told", async () => {
  await using failing = await saying("192.0.2.1", { set: rcodes.serverFailure });
  await using refusing = await saying("192.0.2.1", { set: rcodes.refused });
  await using alive = await saying("192.0.2.2");
  expect(dataOf(await forwarderTo(async () => [failing, alive]).forward(question("example.com")))).toEqual(["192.0.2.2"]);
  expect(read(await forwarderTo(async () => [failing, refusing]).forward(question("example.com"))).rcode).toBe("SERVFAIL");
});

test("all are asked twice before nobody is found to answer, and each is named", async () => {
  await using dead = await silent();
  const forwarder = forwarderTo(async () => [dead], { tryTimeoutMs: 30 });
  await expect(forwarder.forward(question("example.com"))).rejects.toMatchObject({
    code: "UNANSWERED",
    message: expect.stringContaining("127.0.0.1") as string,
  });
  expect(dead.asked.udp).toBe(2);
});

test("what is no answer to the question is not taken for one", async () => {
  await using server = await openScriptedServer({
    udp: (query) => [
      Buffer.from("nonsense"),
      withId(answer(query, "203.0.113.1"), (query.readUInt16BE(0) + 1) % 65_536),
      answer(withId(question("other.example"), query.readUInt16BE(0)), "203.0.113.2"),
      query,
      answer(query, "192.0.2.3"),
    ],
  });
  expect(dataOf(await forwarderTo(async () => [server]).forward(question("example.com")))).toEqual(["192.0.2.3"]);
});

test("an answer that does not fit into a datagram is fetched over TCP; without TCP it is told that there is more", async () => {
  const truncated = (query: Buffer) => [answer(query, "192.0.2.1", { set: flags.truncated })];
  await using both = await openScriptedServer({ udp: truncated, tcp: (query) => answer(query, "192.0.2.4", { count: 100 }) });
  expect(dataOf(await forwarderTo(async () => [both]).forward(question("example.com")))).toHaveLength(100);
  await using udpOnly = await openScriptedServer({ udp: truncated });
  expect(read(await forwarderTo(async () => [udpOnly]).forward(question("example.com"))).flag_tc).toBe(true);
});

test("questions that are the same are asked once: while an answer is awaited, and for its time to live", async () => {
  await using server = await saying("192.0.2.5", { ttl: 3600 });
  const forwarder = forwarderTo(async () => [server]);
  const ids = [1, 2, 3, 4];
  const found = await Promise.all(ids.map((id) => forwarder.forward(question("example.com", "A", { id }))));
  expect(found.map((message) => read(message).id)).toEqual(ids);
  expect(read(await forwarder.forward(question("example.com", "A", { id: 5 }))).id).toBe(5);
  expect(server.asked.udp).toBe(1);
  await forwarder.forward(question("example.com", "AAAA"));
  await forwarderTo(async () => [server]).forward(question("example.com"));
  expect(server.asked.udp).toBe(3);
});

test("more questions than may wait are turned away, and taken again when others are answered", async () => {
  const held: (() => void)[] = [];
  let release = false;
  await using server = await saying("192.0.2.6");
  const servers = async () => {
    if (!release) await new Promise<void>((resolve) => held.push(resolve));
    return [server];
  };
  const forwarder = forwarderTo(servers, { mostWaiting: 2 });
  const waiting = [forwarder.forward(question("a.example")), forwarder.forward(question("a.example"))];
  await expect(forwarder.forward(question("b.example"))).rejects.toMatchObject({ code: "BUSY" });
  release = true;
  for (const go of held) go();
  await Promise.all(waiting);
  expect(dataOf(await forwarder.forward(question("b.example")))).toEqual(["192.0.2.6"]);
});

test("closing ends what waits", async () => {
  await using dead = await silent();
  const forwarder = forwarderTo(async () => [dead], { tryTimeoutMs: 600_000 });
  const waiting = forwarder.forward(question("example.com"));
  await expect.poll(() => dead.asked.udp).toBe(1);
  forwarder.close();
  await expect(waiting).rejects.toMatchObject({ code: "UNANSWERED" });
});
