import { randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { DistributionEndpoint } from "../distribution-path.ts";
import { DistributionError } from "../errors.ts";
import { traceIdOf } from "../tracing.ts";

/** What there is to say about one request once it is over: its line in the log, and what metrics count. Never a query or a credential. */
export type RequestRecord = {
  readonly requestId: string;
  readonly traceId?: string;
  readonly method: string;
  readonly path: string;
  /** what the path asks for; `none` of the API */
  readonly operation: DistributionEndpoint["kind"] | "none";
  readonly repository?: string;
  readonly status: number;
  /** the code of the spec that it was refused with */
  readonly errorCode?: string;
  readonly clientAddress: string;
  readonly userAgent?: string;
  readonly receivedBytes: number;
  /** headers and all */
  readonly sentBytes: number;
  readonly durationMs: number;
};

/** One request while it lasts. */
export type RequestTrack = {
  readonly requestId: string;
  received(bytes: number): void;
  failed(error: unknown): void;
  traced(traceId: string | undefined): void;
  record(): RequestRecord;
};

const longestPath = 1024;
const longestUserAgent = 200;

export function trackRequest(request: FastifyRequest, reply: FastifyReply): RequestTrack {
  const startedAt = performance.now();
  const { socket } = request.raw;
  const sentBefore = socket.bytesWritten;
  const requestId = requestIdOf(request);
  let traceId = traceIdOf(request.headers);
  let receivedBytes = 0;
  let errorCode: string | undefined;
  return {
    requestId,
    received: (bytes) => (receivedBytes += bytes),
    failed: (error) => (errorCode = error instanceof DistributionError ? error.code : "UNKNOWN"),
    traced: (id) => (traceId = id ?? traceId),
    record: () => {
      const endpoint = request.distribution?.endpoint;
      const userAgent = request.headers["user-agent"]?.slice(0, longestUserAgent);
      return {
        requestId,
        ...(traceId === undefined ? {} : { traceId }),
        method: request.method,
        path: pathOf(request).slice(0, longestPath),
        operation: endpoint?.kind ?? "none",
        ...(endpoint !== undefined && "repository" in endpoint ? { repository: endpoint.repository } : {}),
        status: reply.statusCode,
        ...(errorCode === undefined ? {} : { errorCode }),
        clientAddress: request.ip,
        ...(userAgent === undefined ? {} : { userAgent }),
        receivedBytes,
        sentBytes: Math.max(socket.bytesWritten - sentBefore, 0),
        durationMs: Math.round(performance.now() - startedAt),
      };
    },
  };
}

/** The client's own id for the request, when it is one that may stand in a log and a header; else a fresh one. */
function requestIdOf(request: FastifyRequest): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[A-Za-z0-9._~:-]{1,128}$/.test(given) ? given : randomUUID();
}

/** The path as it was sent: nothing decoded, so that `%2f` cannot become a slash of a name. */
export function pathOf(request: FastifyRequest): string {
  return (request.raw.url ?? "").split("?", 1)[0]!;
}
