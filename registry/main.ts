import type { Server } from "node:https";
import { pino } from "pino";
import { announceReady } from "../config/ready.ts";
import { settingsFromEnvironment } from "../config/settings.ts";
import { createRegistryApp } from "./app.ts";
import { ensureBucket } from "./bucket/ensure-bucket.ts";
import { createS3Client } from "./bucket/s3-client.ts";
import { uploadOptions } from "./uploads/upload-options.ts";
import { keepSwept } from "./uploads/keep-swept.ts";
import { openAccess } from "./open-access.ts";
import { openS3Store } from "./s3-store.ts";
import { keepCertificateFresh } from "../config/tls/keep-certificate-fresh.ts";
import { storageKeys } from "./bucket/storage-keys.ts";
import { openMetricsServer } from "./observe/metrics-server.ts";
import { createMetrics } from "./observe/metrics.ts";
import { observeUploads } from "./observe/observed-uploads.ts";
import { createReadiness } from "./observe/readiness.ts";
import { observeS3Calls } from "./observe/s3-calls.ts";
import { startTracing } from "../config/tracing/start-tracing.ts";

/** what is left of the 5 s that a process has to end; requests still under way then are cut off */
const drainMs = 3_500;

const settings = settingsFromEnvironment();
const log = pino({ name: "registry" });
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
process.once("SIGINT", () => stopping.abort());

const { bucket } = settings.s3;
const s3 = createS3Client(settings.s3);
const store = openS3Store({ s3, bucket, ...uploadOptions(settings.registry.uploads) });

let swept = Promise.resolve();
const tracing = await startTracing("slipway-registry", settings);
const metrics = createMetrics();
observeS3Calls(s3, metrics);
metrics.watchPartBuffers(() => store.partMemory);
/** connections of its own: that readers hold all the others does not mean that S3 is away */
const probingS3 = createS3Client(settings.s3);
const readiness = createReadiness({
  s3: probingS3,
  bucket,
  probeKey: storageKeys.probe(`${settings.hostId}.${settings.instance}.${settings.registry.listen.port}`),
  onFailure: (error) => log.error({ err: error }, "bucket does not answer"),
});
let metricsServer: AsyncDisposable | undefined;
try {
  const access = await openAccess(settings, s3, stopping.signal);
  const observed = { ...store, uploads: observeUploads(store.uploads, metrics) };
  const app = createRegistryApp({ store: observed, s3, bucket, log, readiness, metrics, ...access });
  await ensureBucket({ s3, bucket, onRetry: (error) => log.warn({ err: error }, "waiting for S3") }, stopping.signal);
  if (settings.registry.metrics !== undefined) metricsServer = await openMetricsServer(metrics, settings.registry.metrics);
  await app.listen(settings.registry.listen);
  announceReady(settings.runDir, "registry");
  if (access.auth === undefined) log.warn('whoever reaches this port may pull and push all: registry.auth is not "tokens"');
  if (settings.registry.tls !== undefined && access.tls !== undefined) {
    void keepCertificateFresh(app.server as unknown as Server, settings.registry.tls, access.tls, log, stopping.signal);
  }
  swept = keepSwept((signal) => store.sweep(signal), log, stopping.signal);
  log.info({ address: app.listeningOrigin, bucket }, "listening");
  await new Promise<void>((resolve) => stopping.signal.addEventListener("abort", () => resolve(), { once: true }));
  log.info("stopping");
  await readiness.drain();
  setTimeout(() => app.server.closeAllConnections(), drainMs).unref();
  await app.close();
} catch (error) {
  if (!stopping.signal.aborted) {
    log.fatal({ err: error }, "registry failed");
    process.exitCode = 1;
  }
} finally {
  await swept;
  await store[Symbol.asyncDispose]();
  await metricsServer?.[Symbol.asyncDispose]();
  await tracing[Symbol.asyncDispose]();
  s3.destroy();
  probingS3.destroy();
}
