import { Client } from "@temporalio/client";
import { Worker } from "@temporalio/worker";
import { setTimeout as delay } from "node:timers/promises";
import pino from "pino";
import { createBuildActivities } from "../activities/build.ts";
import { createEnsureOrg } from "../activities/ensure-org.ts";
import { createHostPruneActivities } from "../activities/host-prune.ts";
import { createImageActivities } from "../activities/image.ts";
import { createMachineActivities } from "../activities/machine.ts";
import { createBuilders } from "../builder/builders.ts";
import { openGate } from "../builder/gate/gate.ts";
import { hostTaskQueue, instancePaths } from "../config/paths.ts";
import { pruneSettings } from "../config/prune-settings.ts";
import { announceReady } from "../config/ready.ts";
import { createRegistryClient } from "../config/registry-client.ts";
import { settingsFromEnvironment } from "../config/settings.ts";
import { startTracing } from "../config/tracing/start-tracing.ts";
import { openContainerd } from "../containerd/client.ts";
import { containerdDisk } from "../containerd/disk.ts";
import { createKeepServing, startKeepServing } from "../machines/keep-serving.ts";
import { startLogRotation } from "../machines/logs/rotate.ts";
import { createLogServer } from "../machines/logs/server.ts";
import { machineLogTail } from "../machines/logs/tail.ts";
import { createMachines } from "../machines/machines.ts";
import { readNetworkRegistry } from "../machines/network/network-registry.ts";
import { requireRuntimes } from "../machines/runtime.ts";
import { createRouterClient } from "../machines/router/admin-client.ts";
import { createMirrorAdmin } from "../mirror/admin-client.ts";
import { createHostImages } from "../mirror/images/host-images.ts";
import { isLow } from "../mirror/prune/policy.ts";
import { createPace } from "../mirror/replicate/pace.ts";
import { createUnfinishedUploads } from "../mirror/replicate/unfinished-uploads.ts";
import { buildDeps } from "./build-deps.ts";
import { openBuilderAccess } from "./builder-gate.ts";
import { connectTemporal } from "./connect.ts";
import { pruneScheduleId } from "./prune-schedule.ts";
import { startPruneWhenLow } from "./prune-when-low.ts";
import { installRuntime, runUntilTerminated } from "./runtime.ts";

/** Composition root of the host role: every activity that touches this host, and nothing of other hosts. */
const settings = settingsFromEnvironment();
const log = pino({ name: "host" });
installRuntime(log);
const tracing = await startTracing("slipway-host", settings);

const containerd = openContainerd(settings.containerd.socket);
await requireRuntimes(containerd, settings, AbortSignal.timeout(30_000));
const machines = createMachines({ containerd, settings });
const builders = createBuilders({ containerd, machines, settings });
const router = createRouterClient(settings.router.adminSocket);
const upstream = createRegistryClient(settings);
const { replication } = settings.mirror;
const mirror = createMirrorAdmin(settings.mirror.adminSocket);
const ensureOrg = createEnsureOrg({ machines, mirror });

const logServer = createLogServer(settings);
await logServer.listen(settings.logs.listen);
using _rotation = startLogRotation(settings, (error) => log.error({ error: String(error) }, "cannot rotate the machines' logs"));
const leftovers = await machines.removeLeftovers(AbortSignal.timeout(30_000)).catch((error: unknown) => {
  log.error({ error: String(error) }, "cannot remove what killed starts left");
  return [];
});
if (leftovers.length > 0) log.info({ machines: leftovers }, "removed what killed starts left");
await builders.adopt(AbortSignal.timeout(30_000));
using builderAccess = openBuilderAccess(settings);
const gate = await openGate(
  { builders, machines, settings, ensureOrg, access: builderAccess.access },
  { log, signal: AbortSignal.timeout(30_000) },
);
const keepServing = startKeepServing(createKeepServing({ machines, router, settings, ensureOrg, log }), 2000);

const temporal = await connectTemporal(settings.temporal, log);
const worker = await Worker.create({
  connection: temporal.native,
  namespace: settings.temporal.namespace,
  taskQueue: hostTaskQueue(settings.hostId),
  activities: {
    ...createBuildActivities(await buildDeps({ settings, builders, mirror, ensureOrg })),
    ...createImageActivities({
      containerd,
      images: createHostImages({ containerd, settings }),
      upstream,
      mirror,
      ensureOrg,
      uploads: createUnfinishedUploads(instancePaths.replicationState(settings)),
      ...(replication === undefined ? {} : { pace: createPace(replication.bytesPerSecond) }),
    }),
    ...createHostPruneActivities({
      containerd,
      snapshotter: settings.containerd.snapshotter,
      imageHost: settings.registry.imageHost,
      upstream,
      orgs: async () => Object.keys((await readNetworkRegistry(settings)).orgs),
    }),
    ...createMachineActivities({
      hostId: settings.hostId,
      machines,
      router,
      logTail: (org, machineId, lines) => machineLogTail(settings, org, machineId, lines),
    }),
  },
  plugins: [...tracing.temporalPlugins],
  identity: `host:${settings.hostId}`,
  maxConcurrentActivityTaskExecutions: 40,
  // a cancellation arrives with the answer to a heartbeat: within about half a second
  maxHeartbeatThrottleInterval: "500ms",
  defaultHeartbeatThrottleInterval: "500ms",
  shutdownGraceTime: "3s",
});
// after a reboot, ready should mean that the apps answer; but deploys do not wait for one that does not start
await Promise.race([keepServing.firstLook, delay(5000)]);
const client = new Client({ connection: temporal.client, namespace: settings.temporal.namespace });
const pruneWhenLow = startPruneWhenLow({
  isLow: async (signal) => isLow(await containerdDisk(containerd, settings.containerd.snapshotter, signal), pruneSettings(settings)),
  prune: () => client.schedule.getHandle(pruneScheduleId(settings.hostId)).trigger(),
  log,
});
announceReady(settings.runDir, "host");
await runUntilTerminated([worker], log);
await pruneWhenLow[Symbol.asyncDispose]();
await keepServing[Symbol.asyncDispose]();
await gate?.[Symbol.asyncDispose]();
await logServer.close();
await builders[Symbol.asyncDispose]();
await temporal.close();
await containerd[Symbol.asyncDispose]();
await tracing[Symbol.asyncDispose]();
process.exit(0);
