import { Client } from "@temporalio/client";
import { Worker } from "@temporalio/worker";
import pino from "pino";
import { createControlPruneActivities } from "../activities/control-prune.ts";
import { createControlActivities } from "../activities/control.ts";
import { createDeployTokenActivities } from "../activities/deploy-tokens.ts";
import { createRegistryActivities } from "../activities/registry.ts";
import { garbageSettings } from "../config/garbage-settings.ts";
import { controlTaskQueue } from "../config/paths.ts";
import { pruneSettings } from "../config/prune-settings.ts";
import { announceReady } from "../config/ready.ts";
import { settingsFromEnvironment } from "../config/settings.ts";
import { startTracing } from "../config/tracing/start-tracing.ts";
import { createDeployTokens } from "../registry/auth/deploy-tokens.ts";
import { createBucket } from "../registry/bucket/bucket.ts";
import { observeS3Calls } from "../registry/observe/s3-calls.ts";
import { createReleaseLedger } from "../registry/releases/release-ledger.ts";
import { createS3Client } from "../registry/bucket/s3-client.ts";
import { uploadDefaults } from "../registry/uploads/upload-options.ts";
import { bundleWorkflows } from "./bundle.ts";
import { connectTemporal } from "./connect.ts";
import { ensureGarbageSchedule } from "./garbage-schedule.ts";
import { ensurePruneSchedule } from "./prune-schedule.ts";
import { installRuntime, runUntilTerminated } from "./runtime.ts";

/** Composition root of the control role: workflows, and activities that need no host. */
const settings = settingsFromEnvironment();
const log = pino({ name: "control" });
installRuntime(log);
const tracing = await startTracing("slipway-control", settings);
const plugins = [...tracing.temporalPlugins];

const [bundle, temporal] = await Promise.all([bundleWorkflows(settings.dataDir, plugins), connectTemporal(settings.temporal, log)]);
const { bucket } = settings.s3;
const s3 = createS3Client(settings.s3);
observeS3Calls(s3);
const client = new Client({ connection: temporal.client, namespace: settings.temporal.namespace, plugins });
const ledger = createReleaseLedger({ s3, bucket });
const activities = {
  ...createControlActivities({ ledger, client, hosts: [settings.hostId] }),
  ...createControlPruneActivities({ ledger, client }),
  ...createDeployTokenActivities(createDeployTokens(createBucket({ s3, bucket }))),
  ...createRegistryActivities({ bucket: createBucket({ s3, bucket }), uploadIdleMs: uploadDefaults.idleMs }),
};

const worker = await Worker.create({
  connection: temporal.native,
  namespace: settings.temporal.namespace,
  taskQueue: controlTaskQueue,
  workflowBundle: bundle,
  activities,
  plugins,
  identity: `control@${settings.hostId}`,
  maxConcurrentActivityTaskExecutions: 50,
  // a cancellation arrives with the answer to a heartbeat, and a killed pass goes on from the last one
  maxHeartbeatThrottleInterval: "1s",
  defaultHeartbeatThrottleInterval: "1s",
  // a killed worker's workflows go on elsewhere after this long; a task that comes late is only replayed
  stickyQueueScheduleToStartTimeout: "2s",
  shutdownGraceTime: "4s",
});
await ensureGarbageSchedule(client, garbageSettings(settings)).catch((error: unknown) => {
  log.error({ error: String(error) }, "cannot have the registry's garbage collected; the next start tries again");
});
const { everyMs, ...policy } = pruneSettings(settings);
await ensurePruneSchedule(client, { host: settings.hostId, everyMs, policy }).catch((error: unknown) => {
  log.error({ error: String(error) }, "cannot have the host's images pruned; the next start tries again");
});
announceReady(settings.runDir, "control");
await runUntilTerminated([worker], log);
await temporal.close();
await tracing[Symbol.asyncDispose]();
