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
import { keepCertificateFresh } from "./tls/keep-certificate-fresh.ts";

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
try {
  const access = await openAccess(settings, s3, stopping.signal);
  const app = createRegistryApp({ store, s3, bucket, log, ...access });
  await ensureBucket({ s3, bucket, onRetry: (error) => log.warn({ err: error }, "waiting for S3") }, stopping.signal);
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
  s3.destroy();
}
