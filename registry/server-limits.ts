import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { DistributionError } from "../oci/errors.ts";
import { answerBadUrl } from "../oci/routes/bad-url.ts";
import { sendDistributionError } from "../oci/routes/error-reply.ts";
import { answerMalformed } from "../oci/routes/malformed-request.ts";
import type { RegistryMetrics } from "./observe/metrics.ts";

/** a client that neither sends nor reads for this long is gone */
const silentConnectionMs = 300_000;
/** connections above it are closed as they come; what is open goes on */
const mostConnections = 4096;
/** requests that a connection may have under way: no client in use sends the next before it has the answer to the last */
const mostPipelined = 16;

/** What Node enforces before there is a request. A body has its own clock (`oci/routes/request-body.ts`), however long it takes. */
export const httpLimits = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
  // a request that is framed twice is refused, not guessed at
  insecureHTTPParser: false,
} as const;

export function serverOptions(metrics?: Pick<RegistryMetrics, "refusedConnection">) {
  return {
    connectionTimeout: silentConnectionMs,
    forceCloseConnections: "idle",
    frameworkErrors: answerBadUrl,
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) => {
      if (error.code !== "ECONNRESET") metrics?.refusedConnection("malformed");
      answerMalformed(error, socket);
    },
  } as const;
}

/** Bounds what clients can hold open, whoever they are. */
export function limitConnections(app: FastifyInstance, metrics?: Pick<RegistryMetrics, "refusedConnection">): void {
  app.server.maxConnections = mostConnections;
  app.server.on("drop", () => metrics?.refusedConnection("limit"));
  const underWay = new WeakMap<Socket, number>();
  const change = (socket: Socket, by: number) => underWay.set(socket, (underWay.get(socket) ?? 0) + by);
  app.server.prependListener("request", ({ socket }: IncomingMessage, reply: ServerResponse) => {
    change(socket, 1);
    reply.once("close", () => change(socket, -1));
  });
  app.addHook("onRequest", async (request, reply) => {
    if ((underWay.get(request.raw.socket) ?? 0) <= mostPipelined) return;
    reply.header("connection", "close");
    throw new DistributionError("TOOMANYREQUESTS", { expected: `at most ${mostPipelined} requests under way on one connection` });
  });
  app.setErrorHandler((error, _request, reply) => sendDistributionError(reply, error));
  app.setNotFoundHandler((_request, reply) => sendDistributionError(reply, new DistributionError("NOT_FOUND")));
}
