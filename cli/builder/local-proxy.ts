import { rm } from "node:fs/promises";
import { type Server, type Socket, connect, createServer } from "node:net";
import { joinSockets } from "../../config/join-sockets.ts";
import { CliError } from "../errors.ts";
import type { ListenAddress } from "./listen-address.ts";

export type LocalProxyOptions = {
  readonly address: ListenAddress;
  /** a stream to the builder, for one connection */
  readonly openTunnel: (signal: AbortSignal) => Promise<Socket>;
  readonly onProblem: (error: Error) => void;
};

export type LocalProxy = AsyncDisposable & { readonly address: ListenAddress };

/** Takes connections of this machine's BuildKit clients and carries each to the builder. @throws CliError when it cannot listen there. */
export async function openLocalProxy({ address, openTunnel, onProblem }: LocalProxyOptions): Promise<LocalProxy> {
  const closing = new AbortController();
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    clients.add(client);
    void carry(client).finally(() => clients.delete(client));
  });

  async function carry(client: Socket): Promise<void> {
    const gone = new AbortController();
    client.once("close", () => gone.abort());
    client.on("error", () => undefined);
    try {
      const tunnel = await openTunnel(AbortSignal.any([gone.signal, closing.signal]));
      await joinSockets(client, tunnel);
    } catch (error) {
      if (!gone.signal.aborted && !closing.signal.aborted) onProblem(error as Error);
    } finally {
      client.destroy();
    }
  }

  const bound = await listen(server, address);
  return {
    address: bound,
    async [Symbol.asyncDispose]() {
      closing.abort();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of clients) client.destroy();
      await closed;
    },
  };
}

async function listen(server: Server, address: ListenAddress): Promise<ListenAddress> {
  if (address.kind === "unix") {
    await listenOnSocket(server, address.path);
    return address;
  }
  await started(server, () => server.listen(address.port, address.host)).catch((cause: unknown) => cannotListen(address, cause));
  return { ...address, port: (server.address() as { port: number }).port };
}

async function listenOnSocket(server: Server, path: string): Promise<void> {
  // whoever may open the socket may drive the builder
  const before = process.umask(0o177);
  try {
    if (await isAbandoned(path)) await rm(path);
    await started(server, () => server.listen(path));
  } catch (cause) {
    cannotListen({ kind: "unix", path }, cause);
  } finally {
    process.umask(before);
  }
}

/** Left by a proxy that was killed: it is there, and refuses. */
function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => (probe.destroy(), resolve(false)));
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  });
}

function started(server: Server, start: () => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("listening", resolve).once("error", reject);
    start();
  });
}

function cannotListen(address: ListenAddress, cause: unknown): never {
  const where = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
  const isTaken = (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
  throw new CliError(
    `Cannot listen on "${where}": ${isTaken ? "another program does, or the file is no socket" : (cause as Error).message}`,
    {
      tryCommand: "slipway proxy builder --listen unix:PATH",
      cause,
    },
  );
}
