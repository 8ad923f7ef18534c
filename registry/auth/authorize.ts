import type { FastifyReply, FastifyRequest } from "fastify";
import { BoundedMap } from "../../config/bounded-map.ts";
import { DistributionError } from "../../oci/errors.ts";
import { header } from "../../oci/routes/distribution-call.ts";
import { type Repository, isRepository } from "../../oci/repository.ts";
import type { DistributionStore } from "../../oci/store.ts";
import { type RegistryAction, allows, requiredAccess } from "../../oci/access.ts";
import type { AccessTokens, VerifiedAccess } from "./access-token.ts";
import { formatChallenge } from "./challenge.ts";

export type Authorizer = {
  /** Lets a request under `/v2/` pass, or answers 401 with what a client needs to know to come back; the same whether or not the thing is there. */
  authorize(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** The store as this request's token may use it: blobs are mounted only from repositories it may pull. */
  storeFor(store: DistributionStore, request: FastifyRequest): DistributionStore;
};

export type AuthorizerOptions = { readonly tokens: AccessTokens; readonly realm: string; readonly service: string };

const verifyTimeoutMs = 10_000;
const mostRemembered = 2000;
const bearer = /^bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)$/i;

export function createAuthorizer({ tokens, realm, service }: AuthorizerOptions): Authorizer {
  const accessOf = new WeakMap<FastifyRequest, VerifiedAccess>();
  /** a client sends one token with many requests: its signature is checked once */
  const remembered = new BoundedMap<string, VerifiedAccess>(mostRemembered);

  const verify = async (token: string): Promise<VerifiedAccess | undefined> => {
    const nowMs = Date.now();
    const known = remembered.get(token);
    if (known !== undefined && known.untilMs > nowMs) return known;
    remembered.delete(token);
    const verified = await tokens.verify(token, nowMs, AbortSignal.timeout(verifyTimeoutMs));
    if (verified === undefined) return undefined;
    remembered.set(token, verified);
    return verified;
  };

  return {
    authorize: async (request, reply) => {
      const endpoint = request.distribution?.endpoint;
      const needed = endpoint === undefined ? undefined : requiredAccess(request.method, endpoint);
      const refuse = (error?: "invalid_token" | "insufficient_scope") => {
        const scopes = needed === undefined ? [] : [scopeOf(needed), ...mountScope(request)];
        reply.header("www-authenticate", formatChallenge({ realm, service, scopes, ...(error === undefined ? {} : { error }) }));
        return new DistributionError("UNAUTHORIZED");
      };
      const sent = header(request, "authorization");
      const token = bearer.exec(sent ?? "")?.[1];
      if (token === undefined) throw refuse();
      const verified = await verify(token);
      if (verified === undefined) throw refuse("invalid_token");
      if (needed !== undefined && !allows(verified.access, needed.repository, needed.action)) throw refuse("insufficient_scope");
      accessOf.set(request, verified);
    },
    storeFor: (store, request) => {
      if (request.distribution?.endpoint.kind !== "startUpload") return store;
      const access = accessOf.get(request)?.access ?? [];
      return {
        ...store,
        blobs: {
          ...store.blobs,
          mount: async (repository, digest, from, signal) =>
            allows(access, from, "pull") ? store.blobs.mount(repository, digest, from, signal) : undefined,
        },
      };
    },
  };
}

/** A pusher also asks whether things are there. */
function scopeOf({ repository, action }: { repository: Repository; action: RegistryAction }): string {
  return `repository:${repository}:${action === "push" ? "pull,push" : action}`;
}

/** The token for a mount should be good for where the blob is, too. */
function mountScope({ distribution, query }: FastifyRequest): string[] {
  const from = (query as Record<string, unknown>)["from"];
  const isMount = distribution?.endpoint.kind === "startUpload" && typeof from === "string" && isRepository(from);
  return isMount ? [`repository:${from}:pull`] : [];
}
