import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createBuildActivities } from "../../activities/build.ts";
import { createEnsureOrg } from "../../activities/ensure-org.ts";
import type { BuildActivities } from "../../activities/types.ts";
import { createMirrorAdmin } from "../../mirror/admin-client.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { buildDeps } from "../../workers/build-deps.ts";
import { startService } from "../start-service.ts";
import { type WakeHost, openWakeHost } from "../wake/host.ts";

export type BuildHost = AsyncDisposable &
  Pick<WakeHost, "settings" | "builders"> & {
    readonly activities: BuildActivities;
    /** Where the mirror finds what was uploaded. Answers its digest. */
    upload(blob: Buffer): Digest;
  };

/** A host's builders, its mirror as a process of its own, and the activities that a worker would run over them. The mirror asks for no tokens. */
export async function openBuildHost(orgs: readonly string[], signal: AbortSignal): Promise<BuildHost> {
  await using stack = new AsyncDisposableStack();
  const host = stack.use(await openWakeHost(orgs, signal));
  const { builders, machines, dir } = host;
  const blobs = new Map<string, Buffer>();
  const upstream = createServer((request, response) => {
    const blob = blobs.get(/\/blobs\/(.+)$/.exec(request.url ?? "")?.[1] ?? "");
    if (blob === undefined) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": blob.length });
    response.end(request.method === "HEAD" ? undefined : blob);
  }).listen(0, "127.0.0.1");
  await once(upstream, "listening");
  stack.defer(() => void upstream.close());
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const registry = { ...host.settings.registry, url };
  const settings = {
    ...host.settings,
    registry,
    mirror: { ...host.settings.mirror, auth: "none" as const, publicFallback: false },
  };
  stack.use(await startService("mirror", settings, dir));
  const mirror = createMirrorAdmin(settings.mirror.adminSocket);
  const ensureOrg = createEnsureOrg({ machines, mirror });
  const activities = createBuildActivities(await buildDeps({ settings, builders, mirror, ensureOrg }));
  const opened = stack.move();
  return {
    settings,
    builders,
    activities,
    upload(blob) {
      const digest = digestOf(blob);
      blobs.set(digest, blob);
      return digest;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
