import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { DistributionError } from "../../oci/errors.ts";
import { type Login, parseBasic } from "../../oci/routes/basic-login.ts";
import { sendDistributionError } from "../../oci/routes/error-reply.ts";
import type { DistributionLog } from "../../oci/routes/register-distribution.ts";
import { cutToGrant, parseScopes } from "../../oci/access.ts";
import type { AccessTokens } from "./access-token.ts";
import type { CredentialChecker, Identity } from "./credentials.ts";
import type { FailedLogins } from "../../oci/routes/failed-logins.ts";

export type TokenRouteOptions = {
  readonly service: string;
  readonly credentials: CredentialChecker;
  readonly tokens: AccessTokens;
  readonly failedLogins: FailedLogins;
  readonly log?: DistributionLog;
  readonly requestTimeoutMs?: number;
};

type TokenRequest = { readonly login: Login | undefined; readonly service: string | null; readonly scopes: readonly string[] };

const answerTimeoutMs = 15_000;
/** from its headers to the end of its answer; a client that drips its form is cut off */
const defaultRequestTimeoutMs = 30_000;
const formLimitBytes = 16 * 1024;
const scopesLimitChars = 8 * 1024;

/** `/token`: GET with Basic credentials, and POST as OAuth2 has it with a password; answers a token for what the credentials are good for. */
export function registerTokenRoute(app: FastifyInstance, options: TokenRouteOptions): void {
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addHook("onRequest", async (request, reply) => {
      const timer = setTimeout(() => request.raw.socket.destroy(), options.requestTimeoutMs ?? defaultRequestTimeoutMs).unref();
      reply.raw.once("close", () => clearTimeout(timer));
    });
    const asText = { parseAs: "string", bodyLimit: formLimitBytes } as const;
    scope.addContentTypeParser<string>("application/x-www-form-urlencoded", asText, (_request, body, done) =>
      done(null, new URLSearchParams(body)),
    );
    scope.setErrorHandler((error, _request, reply) => {
      if (!(error instanceof DistributionError && error.status < 500)) options.log?.error({ err: error }, "token request failed");
      return sendDistributionError(reply, error);
    });
    scope.get("/token", async (request, reply) => {
      const query = new URL(request.raw.url ?? "/", "http://registry").searchParams;
      const login = parseBasic(request.headers.authorization);
      return sendToken(request, reply, { login, service: query.get("service"), scopes: query.getAll("scope") }, options);
    });
    scope.post("/token", async (request, reply) => {
      const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
      const refusal = refuseGrant(form.get("grant_type"));
      if (refusal !== undefined) return reply.code(400).header("cache-control", "no-store").send(refusal);
      const [username, password] = [form.get("username"), form.get("password")];
      const login = username === null || password === null ? undefined : { username, password };
      return sendToken(request, reply, { login, service: form.get("service"), scopes: form.getAll("scope") }, options);
    });
  });
}

async function sendToken(request: FastifyRequest, reply: FastifyReply, asked: TokenRequest, options: TokenRouteOptions) {
  reply.header("cache-control", "no-store");
  const signal = AbortSignal.timeout(answerTimeoutMs);
  const identity = await identify(request.ip, asked.login, options, signal);
  if (identity === undefined) {
    reply.header("www-authenticate", 'Basic realm="slipway registry"');
    throw new DistributionError("UNAUTHORIZED");
  }
  if (asked.service !== null && asked.service !== options.service) return badRequest(reply, `expected service "${options.service}"`);
  const isTooLong = asked.scopes.reduce((sum, text) => sum + text.length, 0) > scopesLimitChars;
  const scopes = isTooLong ? undefined : parseScopes(asked.scopes);
  if (scopes === undefined) return badRequest(reply, "too many scopes");
  const access = cutToGrant(scopes, identity.grant);
  const { token, issuedAtMs, lifetimeS } = await options.tokens.issue(identity, access, Date.now(), signal);
  return reply.code(200).send({
    token,
    access_token: token,
    token_type: "Bearer",
    expires_in: lifetimeS,
    issued_at: new Date(issuedAtMs).toISOString(),
    scope: access.map(({ repository, actions }) => `repository:${repository}:${actions.join(",")}`).join(" "),
  });
}

/**
 * Who this is. A client with many failures behind it may still come with credentials that this process has found right before, so that
 * nobody can lock out those who share an address with him; anything else is refused without asking the bucket.
 */
async function identify(
  address: string,
  login: Login | undefined,
  { credentials, failedLogins, log }: TokenRouteOptions,
  signal: AbortSignal,
): Promise<Identity | undefined> {
  if (login === undefined) return undefined;
  const nowMs = Date.now();
  const waitMs = failedLogins.waitMs(address, nowMs);
  const identity = waitMs === 0 || credentials.wasRight(login) ? await credentials.check(login, nowMs, signal) : undefined;
  if (identity !== undefined) return identity;
  if (waitMs > 0) throw new DistributionError("TOOMANYREQUESTS", { retryAfterSeconds: Math.ceil(waitMs / 1000) });
  failedLogins.count(address, nowMs);
  log?.info({ address }, "wrong credentials");
  return undefined;
}

/** RFC 6749, 5.2. Refresh tokens are not given out, so nobody has one. */
function refuseGrant(grantType: string | null): { error: string; error_description: string } | undefined {
  if (grantType === "password") return undefined;
  if (grantType === null) return { error: "invalid_request", error_description: "grant_type is missing" };
  return { error: "unsupported_grant_type", error_description: 'only grant_type "password" is supported' };
}

function badRequest(reply: FastifyReply, message: string): FastifyReply {
  return reply.code(400).send({ errors: [{ code: "UNSUPPORTED", message }] });
}
