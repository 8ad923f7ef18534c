import type { FastifyReply, FastifyRequest } from "fastify";
import { parseDistributionPath } from "../distribution-path.ts";
import { DistributionError } from "../errors.ts";
import { sendDistributionError } from "./error-reply.ts";

/** Answers a path that fastify cannot decode (`%zz`), before any route, as the spec has it. For the option `frameworkErrors`. */
export function answerBadUrl(_error: Error, request: FastifyRequest, reply: FastifyReply): void {
  reply.header("docker-distribution-api-version", "registry/2.0");
  sendDistributionError(reply, refusalOf(request.method, (request.raw.url ?? "").split("?", 1)[0]!));
}

function refusalOf(method: string, path: string): unknown {
  try {
    parseDistributionPath(method, path);
    return new DistributionError("NOT_FOUND");
  } catch (error) {
    return error;
  }
}
