import { randomUUID } from "node:crypto";
import type { S3Client } from "@aws-sdk/client-s3";
import type { FastifyInstance } from "fastify";
import { type DistributionLog, registerDistribution } from "../oci/routes/register-distribution.ts";
import type { DistributionStore } from "../oci/store.ts";
import type { RegistryAuth } from "./auth/registry-auth.ts";
import { registerTokenRoute } from "./auth/token-route.ts";
import type { LocateBlob } from "./blobs/presigned-redirect.ts";
import { type LocationRoutesOptions, registerLocations } from "./locations/location-routes.ts";
import { storageKeys } from "./bucket/storage-keys.ts";
import type { RegistryMetrics } from "./observe/metrics.ts";
import { type Readiness, createReadiness } from "./observe/readiness.ts";
import { registerHealth } from "./observe/register-health.ts";
import { httpLimits, limitConnections, serverOptions } from "./server-limits.ts";
import { createServerApp } from "../config/tls/server-app.ts";
import type { TlsPair } from "../config/tls/tls-files.ts";

export type RegistryAppOptions = {
  readonly store: DistributionStore;
  readonly s3: S3Client;
  readonly bucket: string;
  readonly log?: DistributionLog;
  /** default: one that looks at the bucket */
  readonly readiness?: Readiness;
  readonly metrics?: RegistryMetrics;
  /** without it whoever reaches the port may do all */
  readonly auth?: RegistryAuth;
  /** HTTPS instead of HTTP */
  readonly tls?: TlsPair;
  /** tells mirrors which hosts have an image; absent: nobody can ask */
  readonly locations?: LocationRoutesOptions;
  /** sends readers of blobs to the bucket itself */
  readonly locateBlob?: LocateBlob;
};

/** The registry's HTTP side: the Distribution API, `/healthz` (this process answers) and `/readyz` (so does its bucket). */
export function createRegistryApp({
  store,
  s3,
  bucket,
  log,
  auth,
  tls,
  locateBlob,
  locations,
  metrics,
  ...options
}: RegistryAppOptions): FastifyInstance {
  const limits = { ...httpLimits, handshakeTimeout: httpLimits.headersTimeout };
  const app = createServerApp(serverOptions(metrics), limits, tls);
  limitConnections(app, metrics);
  registerHealth(app, options.readiness ?? createReadiness({ s3, bucket, probeKey: storageKeys.probe(randomUUID()) }));
  registerDistribution(app, {
    store: auth === undefined ? store : (request) => auth.storeFor(store, request),
    ...(log === undefined ? {} : { log }),
    ...(metrics === undefined ? {} : { onRecord: (record) => metrics.request(record) }),
    ...(auth === undefined ? {} : { authorize: (request, reply) => auth.authorize(request, reply) }),
    ...(locateBlob === undefined
      ? {}
      : { redirectBlob: (request, { repository, digest }, signal) => locateBlob(request.ip, repository, digest, signal) }),
  });
  if (auth !== undefined) registerTokenRoute(app, { ...auth.tokenRoute, ...(log === undefined ? {} : { log }) });
  if (locations !== undefined) registerLocations(app, { ...locations, ...(log === undefined ? {} : { log }) });
  return app;
}
