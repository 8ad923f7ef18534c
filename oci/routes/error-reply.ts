import type { FastifyReply } from "fastify";
import { DistributionError } from "../errors.ts";

const retryAfterSeconds = 1;

/** Renders any error as the spec's body; what is not a {@link DistributionError} tells the client nothing. */
export function sendDistributionError(reply: FastifyReply, error: unknown): FastifyReply {
  if (!(error instanceof DistributionError)) {
    const status = clientFaultStatus(error);
    return status === undefined
      ? reply.code(500).send({ errors: [{ code: "UNKNOWN", message: "unknown error" }] })
      : reply.code(status).send({ errors: [{ code: "UNSUPPORTED", message: (error as Error).message }] });
  }
  if (error.status === 429 || error.status === 503) reply.header("retry-after", retryAfterOf(error));
  if (error.code === "RANGE_INVALID" && typeof error.detail?.["sizeBytes"] === "number") {
    reply.header("content-range", `bytes */${error.detail["sizeBytes"]}`);
  }
  for (const name of ["content-length", "content-type", "etag", "docker-content-digest"]) reply.removeHeader(name);
  return reply.code(error.status).send(error.toBody());
}

function retryAfterOf(error: DistributionError): number {
  const seconds = error.detail?.["retryAfterSeconds"];
  return typeof seconds === "number" ? seconds : retryAfterSeconds;
}

/** fastify's own refusals (a bad URL, a bad header) carry a 4xx status. */
function clientFaultStatus(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown }).statusCode;
  return typeof status === "number" && status >= 400 && status < 500 ? status : undefined;
}
