import type { FastifyInstance } from "fastify";
import { createServerApp } from "../../config/tls/server-app.ts";
import type { TlsPair } from "../../config/tls/tls-files.ts";
import { requiredAccess } from "../../oci/access.ts";
import { DistributionError } from "../../oci/errors.ts";
import { answerBadUrl } from "../../oci/routes/bad-url.ts";
import { type DistributionTarget, header } from "../../oci/routes/distribution-call.ts";
import { answerMalformed } from "../../oci/routes/malformed-request.ts";
import { type DistributionLog, registerDistribution } from "../../oci/routes/register-distribution.ts";
import { type ReadableStore, firstOf, readOnly } from "../pull/readable-store.ts";
import { createTransfers, ownContent } from "./own-content.ts";
import type { PeerTokens } from "./peer-tokens.ts";

export type PeerAppOptions = {
  readonly tokens: Pick<PeerTokens, "verify">;
  /** an org's content on this host; undefined when the host does not serve the org */
  readonly local: (org: string) => ReadableStore | undefined;
  readonly log: DistributionLog;
  /** HTTPS instead of HTTP */
  readonly tls?: TlsPair;
};

const headersTimeoutMs = 10_000;
/** a reader that takes nothing for so long is gone */
const silentMs = 30_000;
const mostConnections = 256;
const bearer = /^bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i;

/** What the mirrors of other hosts read from: manifests by digest and blobs of this host, and nothing that it would have to fetch itself. */
export function createPeerApp({ tokens, local, log, tls }: PeerAppOptions): FastifyInstance {
  const httpLimits = { headersTimeout: headersTimeoutMs, connectionsCheckingInterval: 1_000, maxHeaderSize: 16 * 1024 };
  const common = {
    logger: false,
    forceCloseConnections: true,
    connectionTimeout: silentMs,
    frameworkErrors: answerBadUrl,
    clientErrorHandler: answerMalformed,
  } as const;
  const app = createServerApp(common, httpLimits, tls);
  app.server.maxConnections = mostConnections;
  const transfers = createTransfers();
  registerDistribution(app, {
    async authorize(request, reply) {
      const token = bearer.exec(header(request, "authorization") ?? "")?.[1];
      const repository = token === undefined ? undefined : await tokens.verify(token, Date.now());
      if (repository !== undefined && isFor(repository, request.method, request.distribution)) return;
      reply.header("www-authenticate", "Bearer");
      throw new DistributionError("UNAUTHORIZED");
    },
    store({ distribution }) {
      const repository = distribution !== null && "repository" in distribution.endpoint ? distribution.endpoint.repository : "";
      const found = local(repository.split("/")[0]!);
      return readOnly(found === undefined ? firstOf([]) : ownContent(found, transfers));
    },
    log,
  });
  return app;
}

/** A token is for reading one repository, and it says nothing about other registries. */
function isFor(repository: string, method: string, target: DistributionTarget | null): boolean {
  if (target === null || target.ns !== undefined) return false;
  const needed = requiredAccess(method, target.endpoint);
  return needed === undefined || (needed.repository === repository && needed.action === "pull");
}
