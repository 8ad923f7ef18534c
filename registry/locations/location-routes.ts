import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { hasHash, hashSecret } from "../../config/deploy-token.ts";
import { systemUser } from "../../config/registry-client.ts";
import { type Digest, isDigest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type Repository, isRepository } from "../../oci/repository.ts";
import { parseBasic } from "../../oci/routes/basic-login.ts";
import { sendDistributionError } from "../../oci/routes/error-reply.ts";
import { type FailedLogins, createFailedLogins } from "../../oci/routes/failed-logins.ts";
import type { DistributionLog } from "../../oci/routes/register-distribution.ts";
import { type LocationRecords, hostPattern } from "./location-records.ts";

export type LocationRoutesOptions = {
  readonly records: LocationRecords;
  /** the password of the only user that is heard */
  readonly systemToken: string;
  readonly log?: DistributionLog;
};

const root = "/slipway/v1/locations/";
const bodyLimitBytes = 4 * 1024;
const timeoutMs = 5_000;
const location = z.strictObject({ url: z.url({ protocol: /^https?$/ }).max(300) });

/**
 * Which hosts have an image, for the mirrors of this registry and for nobody else:
 *
 *     GET         /slipway/v1/locations/<repository>/<digest>           {"locations": [{"host", "url", "atMs"}]}
 *     PUT, DELETE /slipway/v1/locations/<repository>/<digest>/<host>    {"url"} to put
 */
export function registerLocations(app: FastifyInstance, { records, systemToken, log }: LocationRoutesOptions): void {
  const failedLogins = createFailedLogins();
  const systemHash = hashSecret(systemToken);
  app.register(async (scope) => {
    scope.addHook("onRequest", async (request, reply) => {
      reply.header("cache-control", "no-store");
      requireSystem(request, systemHash, failedLogins);
    });
    scope.setErrorHandler((error, _request, reply) => {
      const isRefusal = error instanceof DistributionError && error.status < 500;
      if (!isRefusal) log?.error({ err: error }, "location request failed");
      if (isRefusal && error.status === 401) reply.header("www-authenticate", 'Basic realm="slipway registry"');
      return sendDistributionError(reply, error);
    });
    scope.get(`${root}*`, async (request) => {
      const { repository, digest } = parsePath(request, { withHost: false });
      return { locations: await records.find(repository, digest, AbortSignal.timeout(timeoutMs)) };
    });
    scope.put(`${root}*`, { bodyLimit: bodyLimitBytes }, async (request, reply) => {
      const { repository, digest, host } = parsePath(request, { withHost: true });
      const parsed = location.safeParse(request.body);
      if (!parsed.success) return reply.code(400).send({ errors: [{ code: "UNSUPPORTED", message: 'expected {"url": "http(s)://…"}' }] });
      await records.put(repository, digest, { host, ...parsed.data, atMs: Date.now() }, AbortSignal.timeout(timeoutMs));
      return reply.code(204).send();
    });
    scope.delete(`${root}*`, async (request, reply) => {
      const { repository, digest, host } = parsePath(request, { withHost: true });
      await records.remove(repository, digest, host, AbortSignal.timeout(timeoutMs));
      return reply.code(204).send();
    });
  });
}

function requireSystem(request: FastifyRequest, systemHash: string, failedLogins: FailedLogins): void {
  const login = parseBasic(request.headers.authorization);
  if (login !== undefined && login.username === systemUser && hasHash(login.password, systemHash)) return;
  const nowMs = Date.now();
  const waitMs = failedLogins.waitMs(request.ip, nowMs);
  if (waitMs > 0) throw new DistributionError("TOOMANYREQUESTS", { retryAfterSeconds: Math.ceil(waitMs / 1000) });
  if (login !== undefined) failedLogins.count(request.ip, nowMs);
  throw new DistributionError("UNAUTHORIZED");
}

type LocationPath = { readonly repository: Repository; readonly digest: Digest; readonly host: string };

/** As sent, nothing decoded. @throws DistributionError NOT_FOUND for a path of another shape. */
function parsePath(request: FastifyRequest, { withHost }: { readonly withHost: boolean }): LocationPath {
  const path = (request.raw.url ?? "").replace(/\?.*$/, "").slice(root.length);
  const [, repository = "", digest = "", host] = /^(.+)\/([a-z0-9]+:[0-9a-f]+)(?:\/([^/]+))?$/.exec(path) ?? [];
  const isHostRight = withHost ? hostPattern.test(host ?? "") : host === undefined;
  if (isRepository(repository) && isDigest(digest) && isHostRight) return { repository, digest, host: host ?? "" };
  throw new DistributionError("NOT_FOUND");
}
