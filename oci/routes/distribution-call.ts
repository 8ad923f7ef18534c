import type { FastifyReply, FastifyRequest } from "fastify";
import type { DistributionEndpoint } from "../distribution-path.ts";
import type { DistributionStore } from "../store.ts";

/** What the path and the query of a Distribution request were parsed into; `request.distribution` of every request under `/v2/`. */
export type DistributionTarget = {
  readonly endpoint: DistributionEndpoint;
  /** `?ns=`: the registry host that a client asked its mirror on behalf of (distribution-spec, "Registry Proxying") */
  readonly ns?: string;
};

declare module "fastify" {
  interface FastifyRequest {
    distribution: DistributionTarget | null;
  }
}

/** One request on its way through a handler. */
export type DistributionCall<E extends DistributionEndpoint = DistributionEndpoint> = {
  readonly endpoint: E;
  readonly query: URLSearchParams;
  readonly store: DistributionStore;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** aborted when the client goes away before it has its answer */
  readonly signal: AbortSignal;
};

export type EndpointOf<K extends DistributionEndpoint["kind"]> = DistributionEndpoint & { readonly kind: K };

/** A header of the request that may be there once. */
export function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** Whether `If-None-Match` names this entity (RFC 9110, 13.1.2); our entity tags are digests. */
export function matchesEntityTag(request: FastifyRequest, digest: string): boolean {
  const tags = header(request, "if-none-match")?.split(",") ?? [];
  return tags.some((tag) => ["*", digest].includes(tag.trim().replace(/^W\//, "").replaceAll('"', "")));
}
