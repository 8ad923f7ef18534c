import fastify, { type FastifyInstance } from "fastify";
import { DistributionError } from "../../oci/errors.ts";
import { answerBadUrl } from "../../oci/routes/bad-url.ts";
import type { DistributionTarget } from "../../oci/routes/distribution-call.ts";
import { answerMalformed } from "../../oci/routes/malformed-request.ts";
import { type DistributionLog, registerDistribution } from "../../oci/routes/register-distribution.ts";
import type { DistributionStore } from "../../oci/store.ts";
import type { OrgAccess } from "../access/org-access.ts";
import { admitBody } from "../limits/admit-body.ts";
import type { OrgLimits } from "../limits/org-limits.ts";
import type { JoinedSources } from "../sources/joined-sources.ts";
import { registerSources } from "../sources/source-route.ts";
import type { Certificates } from "../tls/certificates.ts";
import { speakBoth } from "./both-protocols.ts";

export type AppOptions = {
  readonly org: string;
  readonly address: string;
  readonly store: (method: string, target: DistributionTarget) => DistributionStore;
  /** what builds read that was uploaded in packs */
  readonly sources?: JoinedSources;
  readonly log: DistributionLog;
  /** HTTPS beside HTTP on the same port; without them HTTP alone */
  readonly certificates?: Certificates;
  readonly limits?: Pick<OrgLimits, "connections" | "admit">;
  /** who may do what; absent: whoever reaches the socket may do all that the store does */
  readonly access?: OrgAccess;
};

/** For a request's headers, a connection's first byte and a TLS handshake. Bodies have a clock of their own (`oci/routes/request-body.ts`). */
const headersTimeoutMs = 10_000;

/** What answers at one address of one org. */
export function createListenerApp({ org, address, store, sources, log, certificates, limits, access }: AppOptions): FastifyInstance {
  const app = fastify({
    logger: false,
    forceCloseConnections: true,
    frameworkErrors: answerBadUrl,
    clientErrorHandler: answerMalformed,
    http: { headersTimeout: headersTimeoutMs, connectionsCheckingInterval: 1_000, maxHeaderSize: 16 * 1024 },
  });
  const ofOrg: DistributionLog = {
    info: (fields, message) => log.info({ org, ...fields }, message),
    error: (fields, message) => log.error({ org, ...fields }, message),
  };
  if (certificates !== undefined) {
    const both = speakBoth(app.server, {
      pair: () => certificates.pairFor(address),
      timeoutMs: headersTimeoutMs,
      onError: (error) => ofOrg.error({ err: error, address }, "cannot serve HTTPS"),
    });
    app.addHook("preClose", async () => both[Symbol.dispose]());
  }
  limits?.connections.watch(app.server);
  app.addHook("onRequest", async (request, reply) => {
    if (limits === undefined || !limits.connections.isExcess(request.raw.socket)) return;
    reply.header("connection", "close");
    throw new DistributionError("TOOMANYREQUESTS", { connections: limits.connections.ofClient(request.raw.socket), retryAfterSeconds: 5 });
  });
  app.addHook("onSend", async (request, reply) => {
    if (request.distribution?.ns !== undefined) reply.header("oci-namespace", request.distribution.ns);
  });
  registerDistribution(app, {
    async store(request) {
      if (request.distribution === null) throw new DistributionError("NAME_UNKNOWN");
      const chosen = store(request.method, request.distribution);
      const allowed = access === undefined ? chosen : access.storeFor(request, chosen);
      if (limits !== undefined) await admitBody(limits, request.distribution, request.raw, allowed);
      return allowed;
    },
    ...(access === undefined ? {} : { authorize: (request, reply) => access.authorize(request, reply) }),
    log: ofOrg,
  });
  if (sources !== undefined) registerSources(app, { sources, log: ofOrg, ...(access === undefined ? {} : { access }) });
  return app;
}
