import { encode } from "dns-packet";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createAnswerCache } from "../../../../machines/resolver/answer-cache.ts";
import { serversIn } from "../../../../machines/resolver/host-servers.ts";
import { answers, ttlOffsets } from "../../../../machines/resolver/wire.ts";
import { question, read } from "./ask.ts";

const answerOf = (...ttls: number[]) =>
  encode({
    type: "response",
    id: 1,
    questions: [{ type: "A", name: "example.com" }],
    answers: ttls.map((ttl) => ({ type: "A", name: "example.com", ttl, data: "192.0.2.1" }) as const),
    additionals: [
      { type: "OPT", name: ".", udpPayloadSize: 1232, extendedRcode: 0, ednsVersion: 0, flags: 0, flag_do: false, options: [] },
    ],
  });
const ttlsOf = (message: Buffer | undefined) => read(message).answers?.map((record) => ("ttl" in record ? record.ttl : undefined));

test("an answer is remembered for its shortest time to live, and grows old meanwhile", () => {
  let nowMs = 0;
  const cache = createAnswerCache(() => nowMs);
  cache.put("key", answerOf(20, 10));
  nowMs = 9999;
  expect(ttlsOf(cache.get("key"))).toEqual([11, 1]);
  expect(read(cache.get("key")).additionals).toMatchObject([{ type: "OPT", flag_do: false }]);
  nowMs = 10_000;
  expect(cache.get("key")).toBeUndefined();
  cache.put("key", answerOf(86_400));
  nowMs = 39_999;
  expect(ttlsOf(cache.get("key"))).toEqual([86_371]);
  nowMs = 40_000;
  expect(cache.get("key")).toBeUndefined();
});

test("what failed, was cut short, has no time to live or a moment's is not remembered", () => {
  const cache = createAnswerCache(() => 0);
  const failed = answerOf(60);
  failed.writeUInt8(2, 3);
  const truncated = answerOf(60);
  truncated.writeUInt8(truncated.readUInt8(2) | 2, 2);
  const kept = { failed, truncated, empty: answerOf(), momentary: answerOf(60, 0), damaged: answerOf(60).subarray(0, 50) };
  for (const [key, answer] of Object.entries(kept)) {
    cache.put(key, answer);
    expect(cache.get(key), key).toBeUndefined();
  }
});

test("an answer is one to its question only with the same id and name", () => {
  const asked = question("example.com");
  const good = encode({ type: "response", id: 4711, questions: [{ type: "A", name: "eXample.com" }] });
  expect(answers(asked, good)).toBe(true);
  expect(answers(asked, encode({ type: "response", id: 4712, questions: [{ type: "A", name: "example.com" }] }))).toBe(false);
  expect(answers(asked, encode({ type: "response", id: 4711, questions: [{ type: "A", name: "example.org" }] }))).toBe(false);
  expect(answers(asked, encode({ type: "response", id: 4711, questions: [{ type: "AAAA", name: "example.com" }] }))).toBe(false);
  expect(answers(asked, asked)).toBe(false);
});

test("whatever bytes come from a resolver, they are read or not, and nothing breaks", () => {
  const cache = createAnswerCache(() => 0);
  const valid = answerOf(60, 30);
  const mutated = fc
    .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    .map((changes) => changes.reduce((bytes, [index, value]) => (bytes.writeUInt8(value, index), bytes), Buffer.from(valid)));
  const any = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(mutated, any), (bytes) => {
      for (const offset of ttlOffsets(bytes) ?? []) expect(offset + 4).toBeLessThanOrEqual(bytes.length);
      answers(question("example.com"), bytes);
      if (bytes.length >= 12) cache.put("key", bytes);
      cache.get("key");
    }),
    { numRuns: 2000 },
  );
});

test("the host's resolvers are those that resolv.conf names, its own loopback among them", () => {
  const text = "# nameserver 192.0.2.9\nnameserver 127.0.0.53\nsearch lan\n nameserver fe80::1%eth0\nnameserver nonsense\nnameserver ::1\n";
  expect(serversIn(text).map(({ address }) => address)).toEqual(["127.0.0.53", "fe80::1%eth0", "::1"]);
  expect(serversIn("nameserver 192.0.2.1\n".repeat(5))).toHaveLength(3);
  expect(serversIn("options edns0\n")).toEqual([{ address: "127.0.0.1", port: 53 }]);
});
