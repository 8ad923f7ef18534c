import { HeadBucketCommand, type S3Client } from "@aws-sdk/client-s3";
import Fastify, { type FastifyInstance } from "fastify";
import { answerBadUrl } from "../oci/routes/bad-url.ts";
import { type DistributionLog, registerDistribution } from "../oci/routes/register-distribution.ts";
import type { DistributionStore } from "../oci/store.ts";

const readyTimeoutMs = 3_000;
/** a client that neither sends nor reads for this long is gone */
const silentConnectionMs = 300_000;

export type RegistryAppOptions = {
  readonly store: DistributionStore;
  readonly s3: S3Client;
  readonly bucket: string;
  readonly log?: DistributionLog;
};

/** The registry's HTTP side: the Distribution API, `/healthz` (this process answers) and `/readyz` (so does its bucket). */
export function createRegistryApp({ store, s3, bucket, log }: RegistryAppOptions): FastifyInstance {
  const app = Fastify({ connectionTimeout: silentConnectionMs, forceCloseConnections: "idle", frameworkErrors: answerBadUrl });
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
  registerDistribution(app, { store, ...(log === undefined ? {} : { log }) });
  return app;
}
