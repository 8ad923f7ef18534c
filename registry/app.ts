import { HeadBucketCommand, type S3Client } from "@aws-sdk/client-s3";
import Fastify, { type FastifyInstance } from "fastify";
import { answerBadUrl } from "../oci/routes/bad-url.ts";
import { type DistributionLog, registerDistribution } from "../oci/routes/register-distribution.ts";
import type { DistributionStore } from "../oci/store.ts";
import type { RegistryAuth } from "./auth/registry-auth.ts";
import { registerTokenRoute } from "./auth/token-route.ts";
import type { LocateBlob } from "./blobs/presigned-redirect.ts";
import { tlsVersions } from "./tls/keep-certificate-fresh.ts";
import type { TlsPair } from "./tls/tls-files.ts";

const readyTimeoutMs = 3_000;
/** a client that neither sends nor reads for this long is gone */
const silentConnectionMs = 300_000;

export type RegistryAppOptions = {
  readonly store: DistributionStore;
  readonly s3: S3Client;
  readonly bucket: string;
  readonly log?: DistributionLog;
  /** without it whoever reaches the port may do all */
  readonly auth?: RegistryAuth;
  /** HTTPS instead of HTTP */
  readonly tls?: TlsPair;
  /** sends readers of blobs to the bucket itself */
  readonly locateBlob?: LocateBlob;
};

/** The registry's HTTP side: the Distribution API, `/healthz` (this process answers) and `/readyz` (so does its bucket). */
export function createRegistryApp({ store, s3, bucket, log, auth, tls, locateBlob }: RegistryAppOptions): FastifyInstance {
  const server = { connectionTimeout: silentConnectionMs, forceCloseConnections: "idle", frameworkErrors: answerBadUrl } as const;
  // to its routes an HTTPS server is like any other
  const app = (tls === undefined ? Fastify(server) : Fastify({ ...server, https: { ...tls, ...tlsVersions } })) as FastifyInstance;
  app.get("/healthz", async () => ({ status: "ok" }));
  app.get("/readyz", async (_request, reply) => {
    try {
      await s3.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: AbortSignal.timeout(readyTimeoutMs) });
      return { status: "ready" };
    } catch (error) {
      log?.error({ err: error }, "bucket does not answer");
      return reply.code(503).send({ status: "unavailable", reason: "the bucket does not answer" });
    }
  });
  registerDistribution(app, {
    store: auth === undefined ? store : (request) => auth.storeFor(store, request),
    ...(log === undefined ? {} : { log }),
    ...(auth === undefined ? {} : { authorize: auth.authorize }),
    ...(locateBlob === undefined
      ? {}
      : { redirectBlob: (request, { repository, digest }, signal) => locateBlob(request.ip, repository, digest, signal) }),
  });
  if (auth !== undefined) registerTokenRoute(app, { ...auth.tokenRoute, ...(log === undefined ? {} : { log }) });
  return app;
}
