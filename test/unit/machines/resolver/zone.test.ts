import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createResponder } from "../../../../machines/resolver/responder.ts";
import type { Zone } from "../../../../machines/resolver/zone.ts";
import { reverseZones } from "../../../../machines/resolver/reverse-zones.ts";
import { zoneOf } from "../../../../machines/resolver/zones.ts";
import { acme, dataOf, pools, question, read, recursionDesired, rival } from "./ask.ts";

const at = (address: string) => ({ address, port: 8080 });
const route = (org: string, app: string, ...addresses: string[]) => ({ org, app, port: 40_000, targets: addresses.map(at) });
const imageHostName = "registry.slipway.internal";
const routes = [
  route("acme", "web", "10.87.1.2", "10.87.1.3", "10.87.1.4"),
  route("acme", "idle"),
  route("acme", "builder", "10.87.1.9"),
  route("rival", "secret", "10.87.2.2"),
];
const builder = { ipv4: "10.87.1.5", ipv6: "fd12:3456:789a:1::5" };

function responderOf(zone: Zone, forwarded: Buffer[] = []) {
  const forwarder = {
    forward: async (query: Buffer) => {
      forwarded.push(query);
      return query;
    },
    close: () => undefined,
  };
  return createResponder({
    own: { imageHostName: zone.imageHostName, reverseZones: reverseZones(pools) },
    zone: async () => zone,
    forwarder,
  });
}

const ofAcme = responderOf(zoneOf(acme, { imageHostName, routes, builder }));
const ask = async (name: string, type: Parameters<typeof question>[1] = "A") => await ofAcme.respond(question(name, type), "udp");

describe("an org's names", () => {
  test("lead to the mirror by its name and by that of images, over IPv4 and IPv6", async () => {
    for (const name of ["_api.internal", "registry.slipway.internal"]) {
      expect(dataOf(await ask(name))).toEqual(["10.87.1.1"]);
      expect(dataOf(await ask(name, "AAAA"))).toEqual(["fd12:3456:789a:1::1"]);
    }
  });

  test("lead from an app to all of its machines that get requests", async () => {
    expect(dataOf(await ask("web.internal")).toSorted((one, other) => one.localeCompare(other))).toEqual([
      "10.87.1.2",
      "10.87.1.3",
      "10.87.1.4",
    ]);
    const ipv6 = ["fd12:3456:789a:1::2", "fd12:3456:789a:1::3", "fd12:3456:789a:1::4"];
    expect(dataOf(await ask("web.internal", "AAAA")).toSorted((one, other) => one.localeCompare(other))).toEqual(ipv6);
    const answer = read(await ask("web.internal"));
    expect(answer).toMatchObject({ id: 4711, type: "response", rcode: "NOERROR", flag_aa: true, flag_ra: true, flag_rd: true });
    expect(answer.answers![0]).toMatchObject({ ttl: 2 });
  });

  test("put each machine first at times", async () => {
    const first = new Set<unknown>();
    for (let turn = 0; turn < 200; turn++) first.add(dataOf(await ask("web.internal"))[0]);
    expect(first.size).toBe(3);
  });

  test("lead to the builder's address, which no app can take, and to nothing before there is one", async () => {
    expect(dataOf(await ask("builder.internal"))).toEqual([builder.ipv4]);
    const without = responderOf(zoneOf(acme, { imageHostName, routes }));
    expect(read(await without.respond(question("builder.internal"), "udp"))).toMatchObject({ rcode: "NOERROR", answers: [] });
  });

  test("are found in whatever case, and the question is repeated as it was asked", async () => {
    const answer = read(await ask("WeB.InTeRnAl"));
    expect(answer.questions).toEqual([{ name: "WeB.InTeRnAl", type: "A", class: "IN" }]);
    expect(answer.answers).toHaveLength(3);
  });

  test.each([
    ["an app without machines", "idle.internal", "A"],
    ["a type that a name has not", "web.internal", "TXT"],
    ["a type that nobody here knows", "web.internal", "LOC"],
    ["a name that is only the end of others", "slipway.internal", "A"],
    ["the zone itself", "internal", "AAAA"],
  ] as const)("have no such data, but exist: %s", async (_, name, type) => {
    const answer = read(await ask(name, type));
    expect(answer).toMatchObject({ rcode: "NOERROR", answers: [], flag_aa: true });
    expect(answer.authorities).toMatchObject([{ type: "SOA", name: "internal", ttl: 2, data: { minimum: 2 } }]);
  });

  test.each(["nobody.internal", "web.web.internal", "secret.internal", "_api.slipway.internal"])("do not exist: %s", async (name) => {
    const answer = read(await ask(name));
    expect(answer).toMatchObject({ rcode: "NXDOMAIN", answers: [] });
    expect(answer.authorities).toMatchObject([{ type: "SOA", name: "internal" }]);
  });

  test("are those of the org alone: a route to another network names nothing", async () => {
    const odd = [route("acme", "stray", "10.87.2.2", "192.0.2.1", "fd12:3456:789a:2::2"), route("rival", "secret", "10.87.2.2")];
    const { apps } = zoneOf(acme, { imageHostName, routes: odd });
    expect([...apps]).toEqual([["stray", []]]);
    expect([...zoneOf(rival, { imageHostName, routes: odd }).apps.keys()]).toEqual(["secret"]);
  });

  test("hold the host part of image names wherever that is, and what is beneath it is asked elsewhere", async () => {
    const forwarded: Buffer[] = [];
    const elsewhere = responderOf(zoneOf(acme, { imageHostName: "images.example.com", routes }), forwarded);
    expect(dataOf(await elsewhere.respond(question("images.example.com"), "udp"))).toEqual(["10.87.1.1"]);
    const nothing = read(await elsewhere.respond(question("images.example.com", "TXT"), "udp"));
    expect(nothing.authorities).toMatchObject([{ type: "SOA", name: "images.example.com" }]);
    expect(forwarded).toEqual([]);
    await elsewhere.respond(question("a.images.example.com"), "udp");
    expect(forwarded).toHaveLength(1);
  });

  test("are never asked of others, whatever is before them", async () => {
    const forwarded: Buffer[] = [];
    const responder = responderOf(zoneOf(acme, { imageHostName, routes }), forwarded);
    for (const name of ["internal", "INTERNAL", "a.b.c.internal", "x.INTERNAL."]) await responder.respond(question(name), "udp");
    expect(forwarded).toEqual([]);
    await responder.respond(question("internal.example.com"), "udp");
    expect(forwarded).toHaveLength(1);
  });
});

test("the addresses of all orgs' networks have no names, and nobody else is asked for them", async () => {
  const forwarded: Buffer[] = [];
  const responder = responderOf(zoneOf(acme, { imageHostName, routes }), forwarded);
  const ipv6 = `2.${"0.".repeat(15)}1.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa`;
  for (const name of ["2.1.87.10.in-addr.arpa", "2.2.87.10.IN-ADDR.ARPA", ipv6]) {
    const answer = read(await responder.respond(question(name, "PTR"), "udp"));
    expect(answer).toMatchObject({ rcode: "NXDOMAIN", authorities: [{ type: "SOA" }] });
    expect(name.toLowerCase().endsWith(`.${answer.authorities![0]!.name}`)).toBe(true);
  }
  expect(forwarded).toEqual([]);
  for (const name of ["2.1.88.10.in-addr.arpa", "2.1.187.10.in-addr.arpa", "8.8.8.8.in-addr.arpa"]) {
    await responder.respond(question(name, "PTR"), "udp");
  }
  expect(forwarded).toHaveLength(3);
});

describe("an answer", () => {
  const many = Array.from({ length: 200 }, (_, index) => `10.87.1.${index + 2}`);
  const crowded = responderOf(zoneOf(acme, { imageHostName, routes: [route("acme", "crowd-with-a-rather-long-name-of-forty", ...many)] }));
  const name = "crowd-with-a-rather-long-name-of-forty.internal";

  test.each([
    [512, undefined],
    [1232, 1232],
    [512, 100],
  ])("has as many addresses as %i bytes hold, when a client takes %s", async (bytes, payloadBytes) => {
    const answer = await crowded.respond(question(name, "AAAA", payloadBytes === undefined ? {} : { payloadBytes }), "udp");
    expect(answer!.length).toBeLessThanOrEqual(bytes);
    expect(dataOf(answer).length).toBeGreaterThan(3);
    expect(read(answer).flag_tc).toBe(false);
  });

  test("speaks EDNS with whom does, and version 0 of it", async () => {
    const plain = read(await ofAcme.respond(question("web.internal", "A", { payloadBytes: 4096 }), "udp"));
    expect(plain.additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 1232, ednsVersion: 0, extendedRcode: 0 }]);
    const newer = question("web.internal", "A", { payloadBytes: 4096 });
    newer.writeUInt8(1, newer.length - 5);
    const refused = read(await ofAcme.respond(newer, "udp"));
    expect(refused).toMatchObject({ answers: [], additionals: [{ extendedRcode: 1, ednsVersion: 0 }] });
  });

  test("to what is no plain question says so", async () => {
    expect(read(await ask("example.com", "AXFR")).rcode).toBe("REFUSED");
    const chaos = question("version.bind", "TXT");
    chaos.writeUInt16BE(3, chaos.length - 2);
    expect(read(await ofAcme.respond(chaos, "udp")).rcode).toBe("REFUSED");
    const notify = question("web.internal");
    notify.writeUInt16BE((4 << 11) | recursionDesired, 2);
    expect(read(await ofAcme.respond(notify, "udp")).rcode).toBe("NOTIMP");
  });

  test("is not given to an answer, to two questions or to none", async () => {
    const answer = question("web.internal");
    answer.writeUInt8(answer.readUInt8(2) | 0x80, 2);
    expect(await ofAcme.respond(answer, "udp")).toBeUndefined();
    for (const count of [0, 2]) {
      const wrong = question("web.internal");
      wrong.writeUInt16BE(count, 4);
      expect(await ofAcme.respond(wrong, "udp")).toBeUndefined();
    }
  });

  test("comes or does not come, whatever bytes are sent, and nothing breaks", async () => {
    const valid = question("web.internal", "A", { payloadBytes: 1232 });
    const mutated = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
      .map((changes) => changes.reduce((bytes, [index, value]) => (bytes.writeUInt8(value, index), bytes), Buffer.from(valid)));
    const cut = fc.nat(valid.length).map((length) => valid.subarray(0, length));
    const any = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes));
    const headed = any.map((bytes) => Buffer.concat([valid.subarray(0, 12), bytes]));
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, cut, any, headed), fc.constantFrom("udp", "tcp"), async (bytes, transport) => {
        const answer = await ofAcme.respond(bytes, transport as "udp" | "tcp");
        if (answer !== undefined) expect(answer.readUInt16BE(0)).toBe(bytes.readUInt16BE(0));
      }),
      { numRuns: 2000 },
    );
  });
});
