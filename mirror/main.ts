/** The process `mirror`: OCI Distribution over this host's containerd, one socket per org. */
import { setTimeout as sleep } from "node:timers/promises";
import { readFileSync } from "node:fs";
import pino, { type Logger } from "pino";
import { mirrorPorts } from "../config/mirror-ports.ts";
import { instancePaths } from "../config/paths.ts";
import { announceReady } from "../config/ready.ts";
import { createRegistryClient } from "../config/registry-client.ts";
import { type Settings, settingsFromEnvironment } from "../config/settings.ts";
import { startTracing } from "../config/tracing/start-tracing.ts";
import { type Containerd, openContainerd } from "../containerd/client.ts";
import { SharedContentError, requireIsolatedContent } from "../containerd/policy.ts";
import { openAccess } from "./access/open-access.ts";
import { openAdmin } from "./admin.ts";
import { createFreeSpace } from "./limits/free-space.ts";
import { createMirrorLimits, openFreeSpace } from "./limits/mirror-limits.ts";
import { openOrgs } from "./orgs.ts";
import { openPeers } from "./peers/open-peers.ts";
import { createPublicRegistries } from "./pull/public-registries.ts";
import type { ReadableStore } from "./pull/readable-store.ts";
import type { StoreSources } from "./serve/select-store.ts";
import { copyOf } from "./store/copy-names.ts";
import { createUpstreamStore } from "./pull/upstream.ts";
import { openCertificates } from "./tls/open-certificates.ts";

const containerdTimeoutMs = 30_000;
const closeTimeoutMs = 4_500;
/** The durable registry is ours and near; it is asked again soon. */
const upstreamDownMs = 2_000;

async function main(): Promise<void> {
  const settings = settingsFromEnvironment();
  const log = pino({ base: { process: "mirror" } });
  await using _tracing = await startTracing("slipway-mirror", settings);
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  process.once("SIGTERM", stop).once("SIGINT", stop);

  await using containerd = openContainerd(settings.containerd.socket);
  await requireContainerd(containerd, log, stopping.signal);
  const ports = mirrorPorts(settings.mirror.port, settings.registry.imageHost);
  const { snapshotter } = settings.containerd;
  const floor = settings.mirror.limits?.freeBytes;
  const space = await openFreeSpace({ containerd, snapshotter, ...(floor === undefined ? {} : { freeBytes: floor }) }, stopping.signal);
  await using access = await openAccess(settings);
  if (access.of === undefined) log.warn('whoever is in an org\'s network may pull and push all of the org: mirror.auth is not "tokens"');
  await using peering = openPeers(settings, log);
  await using orgs = await openOrgs(
    {
      containerd,
      stateDir: instancePaths.mirrorState(settings),
      ...(floor === 0 ? {} : { stateSpace: createFreeSpace([instancePaths.mirrorState(settings)], floor) }),
      ports,
      certificates: await openCertificates(settings, log, stopping.signal),
      limits: createMirrorLimits({ containerd, space, settings: settings.mirror.limits ?? {} }),
      snapshotter,
      sources: createSources(settings),
      ...(peering === undefined ? {} : { peers: peering.peers }),
      ...(access.of === undefined ? {} : { access: access.of }),
      log,
    },
    stopping.signal,
  );
  await peering?.serve((org) => orgs.local(org), log, stopping.signal);
  await using _admin = await openAdmin({ orgs, tokens: access.tokens }, settings.mirror.adminSocket);
  announceReady(settings.runDir, "mirror");
  log.info({ orgs: orgs.list(), ports }, "serving");

  if (!stopping.signal.aborted) await new Promise((resolve) => stopping.signal.addEventListener("abort", resolve, { once: true }));
  log.info({}, "stopping");
  setTimeout(() => process.exit(1), closeTimeoutMs).unref();
}

/** containerd may still be starting; with shared content nothing may be served at all. */
async function requireContainerd(containerd: Containerd, log: Logger, signal: AbortSignal): Promise<void> {
  const deadlineMs = Date.now() + containerdTimeoutMs;
  for (;;) {
    try {
      return await requireIsolatedContent(containerd, AbortSignal.any([signal, AbortSignal.timeout(10_000)]));
    } catch (error) {
      if (error instanceof SharedContentError || signal.aborted || Date.now() > deadlineMs) throw error;
      log.warn({ err: error }, "containerd does not answer yet");
      await sleep(250, undefined, { signal });
    }
  }
}

function createSources(settings: Settings): Omit<StoreSources, "org" | "local" | "copies" | "fetches" | "fetched" | "peers"> {
  const client = createRegistryClient(settings, { connectTimeoutMs: 2_000, idleTimeoutMs: 30_000 });
  const own = createUpstreamStore(client, { downMs: upstreamDownMs, isOurs: true });
  const copies = new Map<string, ReadableStore>();
  const ofHost = (host: string): ReadableStore => {
    const known =
      copies.get(host) ?? createUpstreamStore(client, { downMs: upstreamDownMs, isOurs: true, rename: (name) => copyOf(host, name) });
    // a stranger's list of hosts must not grow ours for ever
    if (copies.size < 100) copies.set(host, known);
    return known;
  };
  const ca = settings.caBundle === undefined ? undefined : readFileSync(settings.caBundle, "utf8");
  return {
    imageHost: settings.registry.imageHost,
    upstream: (host) => (host === undefined ? own : ofHost(host)),
    publicRegistry: settings.mirror.publicFallback ? createPublicRegistries(ca) : () => undefined,
  };
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    pino({ base: { process: "mirror" } }).fatal({ err: error }, (error as Error).message);
    process.exit(1);
  },
);
