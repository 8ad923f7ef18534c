import type { IncomingMessage } from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import { upgradeHeaders } from "./headers.ts";
import type { ProxyDeps } from "./proxy-request.ts";
import type { Target } from "./routes.ts";

const connectTimeoutMs = 3000;
const lastBytesMs = 1000;

/** A connection that leaves HTTP (WebSocket): after the request's head, bytes both ways until one side ends. */
export async function proxyUpgrade(deps: ProxyDeps, request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  client.on("error", () => client.destroy());
  for (const target of deps.pick()) {
    using _ = deps.inFlight.enter(target);
    const machine = await connect(target);
    if (machine === undefined) continue;
    machine.write(requestHead(request));
    if (head.length > 0) machine.write(head);
    return await join(client, machine);
  }
  client.end(`HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nNo machine of app "${deps.app}" answers.\n`);
}

async function connect({ address, port }: Target): Promise<net.Socket | undefined> {
  const socket = net.connect({ host: address, port });
  return await new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(new Error("no answer")), connectTimeoutMs);
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve(socket);
    });
    socket.once("error", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}

function requestHead(request: IncomingMessage): string {
  const headers = upgradeHeaders(request);
  const lines = [`${request.method} ${request.url} HTTP/1.1`];
  for (let at = 0; at + 1 < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

async function join(client: Duplex, machine: net.Socket): Promise<void> {
  machine.on("error", () => machine.destroy());
  client.pipe(machine);
  machine.pipe(client);
  client.once("close", () => machine.destroy());
  // WebSocket knows no half-closed connection: when one side has ended, the other gets a moment for its last bytes
  for (const side of [client, machine]) side.once("end", () => setTimeout(() => machine.destroy(), lastBytesMs).unref());
  await new Promise<void>((resolve) => machine.once("close", () => resolve()));
  client.destroy();
}
