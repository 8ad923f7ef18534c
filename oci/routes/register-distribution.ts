import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { parseDistributionPath } from "../distribution-path.ts";
import { DistributionError } from "../errors.ts";
import type { DistributionStore } from "../store.ts";
import { tracing } from "../tracing.ts";
import { readBlob, statBlob } from "./blobs.ts";
import { deleteBlob, deleteManifest } from "./deletes.ts";
import type { DistributionCall, DistributionTarget, EndpointOf } from "./distribution-call.ts";
import { sendDistributionError } from "./error-reply.ts";
import { readManifest, resolveManifest, writeManifest } from "./manifests.ts";
import type { OpenBody } from "./open-body.ts";
import { listReferrers } from "./referrers.ts";
import { drainRequest, openRequestBody } from "./request-body.ts";
import { type RequestRecord, type RequestTrack, pathOf, trackRequest } from "./request-record.ts";
import { listTags } from "./tags.ts";
import { abortUpload, appendUpload, finishUpload, startUpload, uploadStatus } from "./uploads.ts";

/** The part of a pino logger that the routes use. */
export type DistributionLog = {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** Which of an app's requests are served, and what they ask for. */
export type DistributionPaths = {
  /** as the app's router takes them */
  readonly routes: readonly string[];
  /** @throws DistributionError for a path that stands for nothing */
  readonly parse: (request: FastifyRequest) => DistributionTarget;
};

export type DistributionOptions = {
  /** absent: the API's own, under `/v2/` */
  readonly paths?: DistributionPaths;
  /** one store, or the one that serves this request: `request.distribution` says what it asks for and on whose behalf (`ns`) */
  readonly store: DistributionStore | ((request: FastifyRequest) => DistributionStore | Promise<DistributionStore>);
  /** gets one line per request, and the cause of every answer above 499 */
  readonly log?: DistributionLog;
  /** hears of each request that is over */
  readonly onRecord?: (record: RequestRecord) => void;
  /**
   * Lets a request pass or throws, before anything else is answered; `request.distribution` is null when the path is none of the API's.
   */
  readonly authorize?: (request: FastifyRequest, reply: FastifyReply) => Promise<void>;
  /** Where else a client may read a blob; undefined: here. */
  readonly redirectBlob?: (request: FastifyRequest, endpoint: EndpointOf<"readBlob">, signal: AbortSignal) => Promise<string | undefined>;
};

/** Serves the OCI Distribution API (distribution-spec 1.1) out of a store. Never buffers more than a manifest. */
export function registerDistribution(app: FastifyInstance, options: DistributionOptions): void {
  const { log, paths = { routes: ["/v2", "/v2/*"], parse: parseTarget } } = options;
  app.register(async (scope) => {
    const tracks = new WeakMap<FastifyRequest, RequestTrack>();

    scope.decorateRequest("distribution", null);
    scope.removeAllContentTypeParsers();
    // bodies stay in the socket until a handler opens them
    scope.addContentTypeParser("*", (_request, _payload, done) => done(null));

    scope.addHook("onRequest", async (request, reply) => {
      const track = trackRequest(request, reply);
      tracks.set(request, track);
      reply.header("docker-distribution-api-version", "registry/2.0").header("x-request-id", track.requestId);
      let fault: unknown;
      try {
        request.distribution = paths.parse(request);
      } catch (error) {
        fault = error;
      }
      await options.authorize?.(request, reply);
      if (fault !== undefined) throw fault;
    });
    scope.setErrorHandler((error, request, reply) => {
      const gone = reply.raw.destroyed;
      tracks.get(request)?.failed(error);
      sendDistributionError(reply, error);
      if (reply.statusCode >= 500 && !gone) {
        const { requestId, traceId, method, path } = tracks.get(request)?.record() ?? { method: request.method, path: pathOf(request) };
        log?.error({ err: error, requestId, traceId, method, path }, "request failed");
      }
      return reply;
    });
    scope.addHook("onResponse", async (request) => {
      drainRequest(request.raw);
      const record = tracks.get(request)?.record();
      if (record === undefined) return;
      log?.info(record, "request");
      options.onRecord?.(record);
    });

    const serve = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      const { endpoint } = request.distribution!;
      const store = typeof options.store === "function" ? await options.store(request) : options.store;
      const call = { endpoint, store, request, reply, query: queryOf(request), signal: abortedWithClient(reply) };
      let body: Readable | undefined;
      try {
        await traced(call, tracks.get(request)!, async () => {
          if (await redirected(call, options.redirectBlob)) return;
          await answer(call, () => (body = openRequestBody(request.raw, (bytes) => tracks.get(request)!.received(bytes))));
        });
      } finally {
        // a store that never touched it leaves it in the way of draining
        body?.destroy();
      }
      return reply;
    };
    for (const route of paths.routes) scope.all(route, serve);
  });
}

/** Serves as a span of the client's trace, if it has one; a refusal is no failure of ours. */
async function traced({ endpoint, request, reply }: DistributionCall, track: RequestTrack, act: () => Promise<void>): Promise<void> {
  const repository = "repository" in endpoint ? { "slipway.repository": endpoint.repository } : {};
  const fields = { "http.request.method": request.method, "url.path": pathOf(request), "http.request.id": track.requestId, ...repository };
  const name = `${request.method} ${endpoint.kind}`;
  const refusal = await tracing.inSpan({ kind: "server", name, fields, from: request.headers }, async (span) => {
    track.traced(span.traceId);
    try {
      await act();
      span.set({ "http.response.status_code": reply.statusCode });
    } catch (error) {
      if (!(error instanceof DistributionError)) throw error;
      span.set({ "http.response.status_code": error.status, "error.type": error.code });
      if (error.status >= 500) throw error;
      return error;
    }
    return undefined;
  });
  if (refusal !== undefined) throw refusal;
}

/** Sends the reader of a blob elsewhere, when there is such a place for it; a conditional read is answered here. */
async function redirected({ endpoint, request, reply, signal }: DistributionCall, locate: DistributionOptions["redirectBlob"]) {
  const isConditional = ["if-match", "if-none-match", "if-range"].some((name) => request.headers[name] !== undefined);
  if (locate === undefined || endpoint.kind !== "readBlob" || isConditional) return false;
  const location = await locate(request, endpoint as EndpointOf<"readBlob">, signal);
  if (location === undefined) return false;
  await reply.code(307).headers({ location, "docker-content-digest": endpoint.digest, "cache-control": "no-store" }).send();
  return true;
}

async function answer(call: DistributionCall, openBody: OpenBody): Promise<void> {
  const { endpoint } = call;
  const at = <K extends typeof endpoint.kind>(call: DistributionCall) => call as DistributionCall<EndpointOf<K>>;
  switch (endpoint.kind) {
    case "ping":
      return void (await call.reply.code(200).send({}));
    case "statBlob":
      return statBlob(at<"statBlob">(call));
    case "readBlob":
      return readBlob(at<"readBlob">(call));
    case "deleteBlob":
      return deleteBlob(at<"deleteBlob">(call));
    case "startUpload":
      return startUpload(at<"startUpload">(call), openBody);
    case "uploadStatus":
      return uploadStatus(at<"uploadStatus">(call));
    case "appendUpload":
      return appendUpload(at<"appendUpload">(call), openBody);
    case "finishUpload":
      return finishUpload(at<"finishUpload">(call), openBody);
    case "abortUpload":
      return abortUpload(at<"abortUpload">(call));
    case "resolveManifest":
      return resolveManifest(at<"resolveManifest">(call));
    case "readManifest":
      return readManifest(at<"readManifest">(call));
    case "writeManifest":
      return writeManifest(at<"writeManifest">(call), openBody);
    case "deleteManifest":
      return deleteManifest(at<"deleteManifest">(call));
    case "listTags":
      return listTags(at<"listTags">(call));
    case "listReferrers":
      return listReferrers(at<"listReferrers">(call));
  }
}

function parseTarget(request: FastifyRequest): DistributionTarget {
  const endpoint = parseDistributionPath(request.method, pathOf(request));
  if (endpoint === undefined) throw new DistributionError("NOT_FOUND");
  const ns = queryOf(request).get("ns");
  if (ns === null || ns === "") return { endpoint };
  // it goes back in a header
  if (!/^[\x21-\x7e]{1,255}$/.test(ns)) throw new DistributionError("NAME_INVALID", { ns: ns.slice(0, 80), expected: "a registry host" });
  return { endpoint, ns };
}

function queryOf(request: FastifyRequest): URLSearchParams {
  const url = request.raw.url ?? "";
  const mark = url.indexOf("?");
  return new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1));
}

function abortedWithClient(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  const onClose = () => {
    if (!reply.raw.writableFinished) controller.abort(new Error("Cannot answer: the client closed the connection"));
  };
  // it may have gone while it was authorized
  if (reply.raw.destroyed) onClose();
  else reply.raw.once("close", onClose);
  return controller.signal;
}
