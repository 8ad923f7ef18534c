import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { instancePaths } from "../../config/paths.ts";
import { createServerApp } from "../../config/tls/server-app.ts";
import type { TlsPair } from "../../config/tls/tls-files.ts";
import { machineLines, streamOf } from "../../machines/logs/server.ts";
import type { Builders } from "../builders.ts";
import { pruneCache } from "../cache-usage.ts";
import { builderMachineId } from "../../machines/types.ts";
import { type ViewDeps, viewBuilder } from "./builder-view.ts";
import { admit } from "./gate-access.ts";
import { GateError } from "./gate-error.ts";
import type { TunnelDeps } from "./tunnels.ts";

export type GateDeps = ViewDeps & TunnelDeps & { readonly builders: Pick<Builders, "status" | "acquire" | "wake" | "sleep" | "discard"> };

const httpLimits = { headersTimeout: 10_000, connectionsCheckingInterval: 1_000, maxHeaderSize: 16 * 1024 } as const;
const bodyLimitBytes = 16 * 1024;
const mostConnections = 1024;

const bytes = z.number().int().nonnegative();
const pruneBody = z.strictObject({ all: z.boolean().default(false), keepForMs: bytes.optional(), keepBytes: bytes.optional() });
const recreateBody = z.strictObject({ dropCache: z.boolean().default(false), force: z.boolean().default(false) });
const logQuery = z.strictObject({
  tail: z.coerce.number().int().min(0).max(100_000).default(100),
  follow: z.enum(["0", "1"]).default("0"),
});

type OfOrg = { readonly Params: { readonly org: string } };

/**
 * What is done with an org's builder, beside going through to it: `GET /v1/orgs/:org/builder`, and below it `POST start`, `stop`, `prune` and
 * `recreate`, `GET log?tail=N&follow=1`. Every answer but the log is JSON.
 */
export function createGateApp(deps: GateDeps, tls: TlsPair | undefined): FastifyInstance {
  const { builders, settings, access, ensureOrg } = deps;
  const common = { logger: false, forceCloseConnections: true, bodyLimit: bodyLimitBytes } as const;
  const app = createServerApp(common, httpLimits, tls);
  app.server.maxConnections = mostConnections;
  app.addHook<OfOrg>("onRequest", (request) => admit(access, request.raw, request.params.org ?? ""));
  app.setErrorHandler((error, _request, reply) => sendError(reply, error));
  app.setNotFoundHandler((_request, reply) => sendError(reply, new GateError("NOT_FOUND", "No such endpoint")));

  app.get<OfOrg>("/v1/orgs/:org/builder", ({ params }, reply) => viewBuilder(deps, params.org, goneSignal(reply)));

  app.post<OfOrg>("/v1/orgs/:org/builder/start", async ({ params }, reply) => {
    const signal = goneSignal(reply);
    await ensureOrg(params.org, signal);
    const { wokenFrom } = await builders.wake(params.org, { signal });
    return { wokenFrom };
  });

  app.post<OfOrg>("/v1/orgs/:org/builder/stop", async ({ params }, reply) => {
    const stopped = await builders.sleep(params.org, goneSignal(reply));
    if (!stopped) throw await inUse(params.org);
    return {};
  });

  app.post<OfOrg>("/v1/orgs/:org/builder/prune", async (request, reply) => {
    const options = parse(pruneBody, request.body ?? {});
    const signal = goneSignal(reply);
    await ensureOrg(request.params.org, signal);
    await using builder = await builders.acquire(request.params.org, { signal });
    const { keepForMs, keepBytes } = options;
    return await pruneCache(
      builder.address,
      {
        all: options.all,
        ...(keepForMs === undefined ? {} : { keepForMs }),
        ...(keepBytes === undefined ? {} : { keepBytes }),
      },
      signal,
    );
  });

  app.post<OfOrg>("/v1/orgs/:org/builder/recreate", async (request, reply) => {
    const { org } = request.params;
    const options = parse(recreateBody, request.body ?? {});
    const signal = goneSignal(reply);
    if (!(await builders.discard(org, options, signal))) throw await inUse(org);
    await ensureOrg(org, signal);
    await builders.wake(org, { signal });
    return {};
  });

  app.get<OfOrg>("/v1/orgs/:org/builder/log", async (request: FastifyRequest<OfOrg>, reply) => {
    const query = parse(logQuery, request.query);
    const file = instancePaths.machineLog(settings, request.params.org, builderMachineId);
    return await reply.type("text/plain; charset=utf-8").send(streamOf(reply.raw, (signal) => machineLines(file, query, signal)));
  });

  async function inUse(org: string): Promise<GateError> {
    const { uses } = await builders.status(org, AbortSignal.timeout(10_000));
    return new GateError("IN_USE", `The builder of "${org}" is in use by ${uses} builds or connections`);
  }
  return app;
}

/** Ends when the client has gone. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort(new Error("The client has gone")));
  return gone.signal;
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map(({ path, message }) => `${path.join(".") || "request"}: ${message}`);
  throw new GateError("INVALID", issues.join("; "));
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const known = error instanceof GateError ? error : asGateError(error as Error & { statusCode?: number });
  return reply.code(known.status).headers(known.headers).send(known.toBody());
}

function asGateError(error: Error & { statusCode?: number }): GateError {
  const isClients = error.statusCode !== undefined && error.statusCode < 500;
  return new GateError(isClients ? "INVALID" : "UNAVAILABLE", error.message, { cause: error });
}
