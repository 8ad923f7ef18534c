import type { FastifyReply, FastifyRequest } from "fastify";
import { DistributionError } from "../../oci/errors.ts";
import { parseBasic } from "../../oci/routes/basic-login.ts";
import { header } from "../../oci/routes/distribution-call.ts";
import type { DistributionStore } from "../../oci/store.ts";
import type { Caller, Callers } from "./callers.ts";
import { aboutOf, judge, mayMount, wantOf } from "./judge.ts";

/** Who may do what on the sockets of one org. */
export type OrgAccess = {
  /**
   * Lets a request pass, or refuses it before anything is looked up.
   * @throws DistributionError UNAUTHORIZED, DENIED, UNSUPPORTED, TOOMANYREQUESTS, UNAVAILABLE
   */
  authorize(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** The store as this request may use it: blobs are mounted only from repositories that it may pull. */
  storeFor(request: FastifyRequest, store: DistributionStore): DistributionStore;
};

export type OrgAccessOptions = { readonly org: string; readonly imageHost: string; readonly callers: Callers };

/** Credentials come with each request: BuildKit's session and every client give a user and a password, and no token is fetched in a build. */
const challenge = 'Basic realm="slipway mirror", charset="UTF-8"';

export function createOrgAccess({ org, imageHost, callers }: OrgAccessOptions): OrgAccess {
  const callerOf = new WeakMap<FastifyRequest, Caller>();
  return {
    async authorize(request, reply) {
      const want = wantOf(request.method, request.distribution, imageHost);
      const about = aboutOf(org, want);
      const login = parseBasic(header(request, "authorization"));
      const from = { org, address: request.raw.socket.remoteAddress ?? "", ...(about === undefined ? {} : { about }) };
      const caller = login === undefined ? undefined : await callers.identify(login, from);
      if (caller === undefined) {
        reply.header("www-authenticate", challenge);
        throw new DistributionError("UNAUTHORIZED");
      }
      const verdict = await judge(org, caller, want);
      if (verdict === "denied") throw new DistributionError("DENIED");
      if (verdict === "unsupported") throw new DistributionError("UNSUPPORTED");
      callerOf.set(request, caller);
    },
    storeFor(request, store) {
      const caller = callerOf.get(request);
      if (caller === undefined || request.distribution?.endpoint.kind !== "startUpload") return store;
      return {
        ...store,
        blobs: {
          ...store.blobs,
          mount: async (repository, digest, source, signal) =>
            (await mayMount(org, caller, source)) ? store.blobs.mount(repository, digest, source, signal) : undefined,
        },
      };
    },
  };
}
