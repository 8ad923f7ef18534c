import { once } from "node:events";
import net from "node:net";
import type { Turns } from "../../config/turns.ts";
import { maxQueryBytes } from "./query.ts";
import type { Responder } from "./responder.ts";
import type { Listener } from "./udp-listener.ts";
import { framed } from "./wire.ts";

const mostConnections = 64;
const defaultIdleMs = 10_000;

/** @throws an ErrnoException of listen(2), such as EADDRNOTAVAIL before the org's bridge is there */
export async function openTcpListener(
  address: string,
  port: number,
  { responder, turns, idleMs = defaultIdleMs }: { readonly responder: Responder; readonly turns: Turns; readonly idleMs?: number },
): Promise<Listener> {
  const sockets = new Set<net.Socket>();
  let failed = false;
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
    socket.setTimeout(idleMs, () => socket.destroy());
    void converse(socket, { responder, turns })
      .catch(() => undefined)
      .finally(() => socket.destroy());
  });
  server.maxConnections = mostConnections;
  server.listen({ host: address, port, exclusive: true, ipv6Only: net.isIPv6(address) });
  await once(server, "listening");
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  server.on("error", () => {
    failed = true;
    close();
  });
  return {
    get failed() {
      return failed;
    },
    close,
  };
}

/** One question after another, each after its length; the next is read when the one before is answered. Whatever is none ends it. */
async function converse(socket: net.Socket, { responder, turns }: { readonly responder: Responder; readonly turns: Turns }): Promise<void> {
  let received = Buffer.alloc(0);
  for await (const part of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, part]);
    for (;;) {
      if (received.length < 2) break;
      const length = received.readUInt16BE(0);
      if (length > maxQueryBytes) return;
      if (received.length < 2 + length) break;
      await turns(1);
      const answer = await responder.respond(received.subarray(2, 2 + length), "tcp");
      if (answer === undefined) return;
      received = received.subarray(2 + length);
      // who does not read its answers is cut off by the idle time-out
      if (!socket.write(framed(answer))) await once(socket, "drain");
    }
  }
}
