import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { tunnelProtocol } from "../../config/builder-gate.ts";
import { joinSockets, keepOpen } from "../../config/join-sockets.ts";
import type { Settings } from "../../config/settings.ts";
import type { Builders } from "../builders.ts";
import { builderSocket } from "../names.ts";
import { connectBuilder } from "./builder-socket.ts";
import { type GateAccess, admit } from "./gate-access.ts";
import { GateError } from "./gate-error.ts";

export type TunnelDeps = {
  readonly builders: Pick<Builders, "acquire" | "wake">;
  readonly settings: Settings;
  readonly access: GateAccess;
  /** The org's network is up and the mirror listens in it. */
  readonly ensureOrg: (org: string, signal: AbortSignal) => Promise<void>;
};

export type Tunnels = AsyncDisposable & {
  /** for a server's event "upgrade" */
  readonly take: (request: IncomingMessage, client: Duplex, head: Buffer) => void;
};

/** buildctl opens one, BuildKit's other clients a few: the bound is for the host's sake */
const mostPerOrg = 64;
const retryAfterSeconds = 5;

/**
 * Each accepted upgrade becomes a stream of raw bytes to the org's buildkitd, which it wakes, and which stays awake while the stream is open.
 */
export function createTunnels({ builders, settings, access, ensureOrg }: TunnelDeps): Tunnels {
  const clients = new Set<Duplex>();
  const open = new Map<Duplex, string>();
  const running = new Set<Promise<void>>();

  async function serve(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    clients.add(client);
    const gone = new AbortController();
    client.once("close", () => gone.abort(new Error("The client has gone")));
    // what broke is told by the close that follows
    client.on("error", () => undefined);
    try {
      const org = orgOf(request);
      await admit(access, request, org);
      enter(client, org);
      await carry(org, client, head, gone.signal);
    } catch (error) {
      refuse(client, asGateError(error));
    } finally {
      open.delete(client);
      clients.delete(client);
    }
  }

  function enter(client: Duplex, org: string): void {
    if ([...open.values()].filter((of) => of === org).length >= mostPerOrg) {
      throw new GateError("TOO_MANY", `Org "${org}" has ${mostPerOrg} connections to its builder open, which is all it may`, {
        retryAfterSeconds,
      });
    }
    open.set(client, org);
  }

  async function carry(org: string, client: Duplex, head: Buffer, signal: AbortSignal): Promise<void> {
    await ensureOrg(org, signal);
    await using _awake = await builders.acquire(org, { signal });
    const builder = await connect(org, signal);
    // a TLSSocket has what a Socket has
    keepOpen(client as Socket);
    client.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${tunnelProtocol.name}\r\n\r\n`);
    if (head.length > 0) builder.write(head);
    await joinSockets(client, builder);
  }

  /** A builder may have died since it answered: it is woken once more. */
  async function connect(org: string, signal: AbortSignal): Promise<Socket> {
    const socket = builderSocket(settings, org);
    try {
      return await connectBuilder(socket, signal);
    } catch {
      signal.throwIfAborted();
      await builders.wake(org, { signal });
      return await connectBuilder(socket, signal);
    }
  }

  return {
    take: (request, client, head) => {
      const served = serve(request, client, head).finally(() => running.delete(served));
      running.add(served);
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      await Promise.all(running);
    },
  };
}

function orgOf({ method, url, headers }: IncomingMessage): string {
  const org = tunnelProtocol.orgOf(url ?? "");
  if (method === "GET" && org !== undefined && headers.upgrade?.toLowerCase() === tunnelProtocol.name) return org;
  throw new GateError("NOT_FOUND", `Expected GET ${tunnelProtocol.path("ORG")} with "Upgrade: ${tunnelProtocol.name}"`);
}

function asGateError(error: unknown): GateError {
  if (error instanceof GateError) return error;
  return new GateError("UNAVAILABLE", `Cannot reach the builder: ${(error as Error).message}`, { retryAfterSeconds, cause: error });
}

function refuse(client: Duplex, error: GateError): void {
  if (client.destroyed || !client.writable) return void client.destroy();
  const body = JSON.stringify(error.toBody());
  const headers = Object.entries({
    ...error.headers,
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  });
  const head = [`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  client.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => client.destroy());
}
