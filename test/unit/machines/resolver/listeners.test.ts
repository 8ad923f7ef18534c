import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { expect, test } from "vitest";
import type { OrgNetwork } from "../../../../machines/types.ts";
import { openResolver, type ResolverOptions } from "../../../../machines/resolver/resolver.ts";
import { openTcpListener } from "../../../../machines/resolver/tcp-listener.ts";
import type { Responder } from "../../../../machines/resolver/responder.ts";
import { framed } from "../../../../machines/resolver/wire.ts";
import { zoneOf } from "../../../../machines/resolver/zones.ts";
import { acme, dataOf, question, read } from "./ask.ts";
import { openScriptedServer } from "./scripted-server.ts";

/** Loopback stands for the gateway. */
const here: OrgNetwork = { ...acme, gatewayIpv4: "127.0.0.1", gatewayIpv6: "::1" };

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function resolverOn(port: number, options: Partial<ResolverOptions> = {}) {
  const routes = [{ org: "acme", app: "web", port: 40_000, targets: [{ address: "10.87.1.2", port: 80 }] }];
  const imageHostName = "registry.slipway.internal";
  const resolver = await openResolver({
    networks: async () => [here],
    isUp: () => true,
    zone: async (network) => zoneOf(network, { imageHostName, routes }),
    own: { imageHostName, reverseZones: [] },
    forwarder: { servers: async () => [] },
    port,
    lookEveryMs: 5,
    ...options,
  });
  return { ...resolver, [Symbol.asyncDispose]: () => resolver.close() };
}

/** Sends until there is an answer: a datagram may be lost. */
async function overUdp(port: number, address: string, ...messages: readonly Buffer[]): Promise<Buffer> {
  const socket = dgram.createSocket(net.isIPv6(address) ? "udp6" : "udp4");
  const send = () => messages.forEach((message) => socket.send(message, port, address));
  const again = setInterval(send, 500);
  try {
    send();
    return ((await once(socket, "message")) as [Buffer])[0];
  } finally {
    clearInterval(again);
    socket.close();
  }
}

async function overTcp(port: number, address: string, count: number, ...parts: readonly Buffer[]): Promise<Buffer[]> {
  const socket = net.connect(port, address);
  socket.on("error", () => undefined);
  for (const part of parts) socket.write(part);
  const answers: Buffer[] = [];
  let received = Buffer.alloc(0);
  for await (const part of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, part]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      answers.push(received.subarray(2, 2 + received.readUInt16BE(0)));
      received = received.subarray(2 + received.readUInt16BE(0));
    }
    if (answers.length === count) break;
  }
  return answers;
}

test("an org is answered over UDP and TCP, IPv4 and IPv6, after whatever bytes came before", async () => {
  const port = await freePort();
  await using _resolver = await resolverOn(port);
  for (const address of ["127.0.0.1", "::1"]) {
    const noise = [Buffer.alloc(0), Buffer.from("x"), Buffer.alloc(3000, 0xff)];
    expect(dataOf(await overUdp(port, address, ...noise, question("web.internal")))).toEqual(["10.87.1.2"]);
    const asked = framed(question("web.internal"));
    // two questions at once, cut within a length
    const both = Buffer.concat([asked, asked]);
    const found = await overTcp(port, address, 2, both.subarray(0, asked.length + 1), both.subarray(asked.length + 1));
    expect(found.map(dataOf)).toEqual([["10.87.1.2"], ["10.87.1.2"]]);
    expect(await overTcp(port, address, 1, framed(Buffer.from("no question")))).toEqual([]);
    expect(await overTcp(port, address, 1, Buffer.from([0xff, 0xff]))).toEqual([]);
  }
});

test("an answer that is too long for a datagram is told to be so over UDP, and given over TCP", async () => {
  await using host = await openScriptedServer({
    udp: (query) => {
      const text = Buffer.alloc(600);
      const record = Buffer.concat([Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 9, 2, 88]), text]);
      const answer = Buffer.concat([query, record]);
      answer.writeUInt16BE(0x8180, 2);
      answer.writeUInt16BE(1, 6);
      return [answer];
    },
  });
  const port = await freePort();
  await using _resolver = await resolverOn(port, { forwarder: { servers: async () => [host] } });
  const short = await overUdp(port, "127.0.0.1", question("example.com", "TXT"));
  expect(read(short)).toMatchObject({ flag_tc: true, flag_ra: true, answers: [], questions: [{ name: "example.com" }] });
  expect((await overTcp(port, "127.0.0.1", 1, framed(question("example.com", "TXT"))))[0]!.length).toBeGreaterThan(600);
});

test("nobody of the host's resolvers answering is told at once as a failure, and own names go on", async () => {
  const port = await freePort();
  await using _resolver = await resolverOn(port);
  expect(read(await overUdp(port, "127.0.0.1", question("example.com"))).rcode).toBe("SERVFAIL");
  expect(dataOf(await overUdp(port, "127.0.0.1", question("web.internal")))).toEqual(["10.87.1.2"]);
});

test("it serves a network from when that comes on, and takes a port as soon as another process leaves it", async () => {
  const port = await freePort();
  const holder = dgram.createSocket("udp4").bind({ port, address: "127.0.0.1", exclusive: true });
  await once(holder, "listening");
  let up = false;
  const changes: string[] = [];
  await using resolver = await resolverOn(port, {
    isUp: () => up,
    onChange: ({ org, listener, state, error = "" }) => void changes.push(`${org} ${listener} ${state} ${error}`),
  });
  expect(resolver.serving()).toEqual([]);
  up = true;
  await expect.poll(() => resolver.serving().length).toBe(3);
  expect(resolver.serving()).not.toContain("acme udp 127.0.0.1");
  await expect.poll(() => changes.filter((change) => change.includes("blocked"))).toHaveLength(1);
  expect(changes).toContainEqual(expect.stringMatching(/^acme udp 127\.0\.0\.1 blocked .*EADDRINUSE/));
  holder.close();
  await expect.poll(() => resolver.serving().length, { timeout: 10_000 }).toBe(4);
  expect(dataOf(await overUdp(port, "127.0.0.1", question("web.internal")))).toEqual(["10.87.1.2"]);
});

test("closing waits for nobody: not for a client that is silent, nor for an answer that does not come", async () => {
  await using host = await openScriptedServer({ udp: () => [] });
  const port = await freePort();
  const resolver = await resolverOn(port, { forwarder: { servers: async () => [host], tryTimeoutMs: 600_000 } });
  const idle = net.connect(port, "127.0.0.1");
  idle.on("error", () => undefined);
  const cut = once(idle, "close");
  const asking = overTcp(port, "127.0.0.1", 1, framed(question("example.com")));
  await expect.poll(() => host.asked.udp).toBe(1);
  await resolver.close();
  await Promise.all([cut, asking]);
  await using _next = await resolverOn(port);
});

test("questions over TCP wait for their turn, and a connection on which nothing happens is ended", async () => {
  const port = await freePort();
  const respond: Responder["respond"] = async (bytes) => bytes;
  const turns: (() => void)[] = [];
  const pace = () => new Promise<void>((resolve) => turns.push(resolve));
  const listener = await openTcpListener("127.0.0.1", port, { responder: { respond }, turns: pace, idleMs: 60_000 });
  const asking = overTcp(port, "127.0.0.1", 2, framed(Buffer.from("one")), framed(Buffer.from("two")));
  for (const turn of [1, 2]) {
    await expect.poll(() => turns.length, { timeout: 10_000 }).toBe(turn);
    turns[turn - 1]!();
  }
  expect((await asking).map(String)).toEqual(["one", "two"]);
  listener.close();

  const impatient = await openTcpListener("127.0.0.1", port, { responder: { respond }, turns: pace, idleMs: 20 });
  const idle = net.connect(port, "127.0.0.1");
  await once(idle, "close");
  impatient.close();
});
