import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { DistributionError } from "../../oci/errors.ts";
import { readBlob, statBlob } from "../../oci/routes/blobs.ts";
import type { DistributionCall, EndpointOf } from "../../oci/routes/distribution-call.ts";
import { sendDistributionError } from "../../oci/routes/error-reply.ts";
import type { DistributionLog } from "../../oci/routes/register-distribution.ts";
import { type RequestTrack, pathOf, trackRequest } from "../../oci/routes/request-record.ts";
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
  app.register(async (scope) => {
    const tracks = new WeakMap<FastifyRequest, RequestTrack>();
    scope.decorateRequest("distribution", null);
    scope.addHook("onRequest", async (request, reply) => {
      tracks.set(request, trackRequest(request, reply));
      const source = parseSourcePath(pathOf(request));
      // a token that reads one blob reads the source of that digest
      request.distribution =
        source === undefined ? null : { endpoint: { kind: request.method === "HEAD" ? "statBlob" : "readBlob", ...source } };
      await access?.authorize(request, reply);
      if (source === undefined) throw new DistributionError("NOT_FOUND");
    });
    scope.setErrorHandler((error, request, reply) => {
      tracks.get(request)?.failed(error);
      if (!(error instanceof DistributionError)) log.error({ err: error, path: pathOf(request) }, "cannot serve a source");
      return sendDistributionError(reply, error);
    });
    scope.addHook("onResponse", async (request) => log.info(tracks.get(request)?.record() ?? {}, "request"));
    scope.route({
      method: ["GET", "HEAD"],
      exposeHeadRoute: false,
      url: `${sourcesPrefix}*`,
      async handler(request, reply) {
        const call = callOf(request, reply, sources, log);
        await (request.method === "HEAD" ? statBlob(call) : readBlob(call));
        return reply;
      },
    });
  });
}

function callOf(
  request: FastifyRequest,
  reply: FastifyReply,
  { blobs }: JoinedSources,
  log: DistributionLog,
): DistributionCall<EndpointOf<"readBlob">> {
  const gone = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) gone.abort(new Error("Cannot answer: the client closed the connection"));
  });
  const read: JoinedSources["blobs"]["read"] = async (repository, digest, range, signal) => {
    const content = await blobs.read(repository, digest, range, signal);
    // the answer has begun by then: the builder only sees that bytes are missing
    content.body.on("error", (error) => {
      if (!gone.signal.aborted) log.error({ err: error, repository, digest }, "a source broke off");
    });
    return content;
  };
  return {
    endpoint: request.distribution!.endpoint as EndpointOf<"readBlob">,
    query: new URLSearchParams(),
    store: { blobs: { ...blobs, read, mount: async () => undefined } } as Pick<DistributionStore, "blobs"> as DistributionStore,
    request,
    reply,
    signal: gone.signal,
  };
}
