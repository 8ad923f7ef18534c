import http from "node:http";
import type { Duplex } from "node:stream";
import type { InFlight } from "./in-flight.ts";
import { proxyRequest, type ProxyDeps } from "./proxy-request.ts";
import { proxyUpgrade } from "./proxy-upgrade.ts";
import type { Target } from "./routes.ts";

/** The listening port of one app. */
export type AppServer = {
  readonly port: number;
  readonly targets: readonly Target[];
  /** From the next request on; those on their way end where they are. */
  switchTo(targets: readonly Target[]): void;
  /** Takes no more connections and answers when those there are have ended, or have been cut after `timeoutMs`. */
  close(timeoutMs: number): Promise<void>;
};

/** @throws an ErrnoException of listen(2), such as EADDRINUSE */
export async function openAppServer(options: {
  readonly app: string;
  readonly host: string;
  readonly port: number;
  readonly targets: readonly Target[];
  readonly inFlight: InFlight;
}): Promise<AppServer> {
  let targets = options.targets;
  let next = 0;
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 64, timeout: 4000 });
  const deps: ProxyDeps = {
    app: options.app,
    inFlight: options.inFlight,
    agent,
    pick() {
      if (targets.length === 0) return [];
      const first = next++ % targets.length;
      return [...targets.slice(first), ...targets.slice(0, first)];
    },
  };
  // uploads and long polls last as long as they last
  const server = http.createServer({ requestTimeout: 0, headersTimeout: 30_000, keepAliveTimeout: 65_000 });
  server.on("request", (request, response) => void proxyRequest(deps, request, response).catch(() => response.destroy()));
  // the server forgets a connection that has left HTTP
  const upgraded = new Set<Duplex>();
  server.on("upgrade", (request, socket, head) => {
    upgraded.add(socket);
    socket.once("close", () => upgraded.delete(socket));
    void proxyUpgrade(deps, request, socket, head).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: options.host, port: options.port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return {
    port: options.port,
    get targets() {
      return targets;
    },
    switchTo(wanted) {
      targets = wanted;
    },
    async close(timeoutMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const cut = setTimeout(() => {
        server.closeAllConnections();
        for (const socket of upgraded) socket.destroy();
      }, timeoutMs);
      await closed;
      clearTimeout(cut);
      agent.destroy();
    },
  };
}
