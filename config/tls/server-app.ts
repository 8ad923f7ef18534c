import type { Server as HttpServer } from "node:http";
import type { Server as HttpsServer, ServerOptions } from "node:https";
import fastify, { type FastifyInstance, type FastifyServerOptions } from "fastify";
import { tlsVersions } from "./keep-certificate-fresh.ts";
import type { TlsPair } from "./tls-files.ts";

type AppOptions = FastifyServerOptions<HttpServer> & FastifyServerOptions<HttpsServer>;

/** HTTPS with a pair, else HTTP: to its routes one server is like the other. `limits` are Node's own; HTTP passes over those of TLS. */
export function createServerApp(options: AppOptions, limits: ServerOptions, tls: TlsPair | undefined): FastifyInstance {
  if (tls === undefined) return fastify({ ...options, http: limits }) as FastifyInstance;
  return fastify({ ...options, https: { ...limits, ...tls, ...tlsVersions } }) as unknown as FastifyInstance;
}
