import type { FastifyInstance, FastifyRequest } from "fastify";
import { DistributionError } from "../../oci/errors.ts";
import type { DistributionTarget } from "../../oci/routes/distribution-call.ts";
import { type DistributionLog, registerDistribution } from "../../oci/routes/register-distribution.ts";
import { pathOf } from "../../oci/routes/request-record.ts";
import type { DistributionStore } from "../../oci/store.ts";
import type { OrgAccess } from "../access/org-access.ts";
import type { JoinedSources } from "./joined-sources.ts";
import { parseSourcePath, sourcesPrefix } from "./source-path.ts";

export type SourceRouteOptions = {
  readonly sources: JoinedSources;
  readonly log: DistributionLog;
  /** absent: whoever reaches the socket may read */
  readonly access?: Pick<OrgAccess, "authorize">;
};

/** Serves sources as if each were a blob: BuildKit asks with HEAD and `If-None-Match` whether it has it, and reads it whole. */
export function registerSources(app: FastifyInstance, { sources, log, access }: SourceRouteOptions): void {
  registerDistribution(app, {
    paths: { routes: [`${sourcesPrefix}*`], parse: sourceTarget },
    store: blobsOnly(sources, log),
    log,
    ...(access === undefined ? {} : { authorize: (request, reply) => access.authorize(request, reply) }),
  });
}

/** A token that reads one blob reads the source of that digest. A query, `?ns=` as well, has no meaning here. */
function sourceTarget(request: FastifyRequest): DistributionTarget {
  const source = parseSourcePath(pathOf(request));
  const kind = ({ GET: "readBlob", HEAD: "statBlob" } as const)[request.method];
  if (source === undefined || kind === undefined) throw new DistributionError("NOT_FOUND");
  return { endpoint: { kind, ...source } };
}

function blobsOnly({ blobs }: JoinedSources, log: DistributionLog): DistributionStore {
  const read: JoinedSources["blobs"]["read"] = async (repository, digest, range, signal) => {
    const content = await blobs.read(repository, digest, range, signal);
    // the answer has begun by then: the builder only sees that bytes are missing
    content.body.on("error", (error) => {
      if (!signal.aborted) log.error({ err: error, repository, digest }, "a source broke off");
    });
    return content;
  };
  return { blobs: { ...blobs, read, mount: async () => undefined } } as Pick<DistributionStore, "blobs"> as DistributionStore;
}
