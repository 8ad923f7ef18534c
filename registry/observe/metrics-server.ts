import { once } from "node:events";
import { createServer } from "node:http";
import type { RegistryMetrics } from "./metrics.ts";

/** Serves `/metrics` on a listener of its own, so that whoever reaches the registry does not reach them. */
export async function openMetricsServer(
  metrics: Pick<RegistryMetrics, "expose">,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<AsyncDisposable> {
  const server = createServer((request, reply) => {
    if (request.method !== "GET" || request.url?.split("?", 1)[0] !== "/metrics") return void reply.writeHead(404).end();
    metrics.expose().then(
      ({ contentType, text }) => reply.writeHead(200, { "content-type": contentType }).end(text),
      () => reply.writeHead(500).end(),
    );
  });
  server.maxConnections = 64;
  await once(server.listen(port, host), "listening");
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
