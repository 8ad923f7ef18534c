import type { FastifyReply, FastifyRequest } from "fastify";
import type { DistributionEndpoint } from "../distribution-path.ts";
import { DistributionError } from "../errors.ts";
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

/** What a store may leave out. @throws DistributionError UNSUPPORTED when it does. */
export function offered<T>(part: T | undefined, feature: string): T {
  if (part === undefined) throw new DistributionError("UNSUPPORTED", { feature });
  return part;
}
