import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { createBuildActivities } from "../../activities/build.ts";
import { createEnsureOrg } from "../../activities/ensure-org.ts";
import type { BuildActivities } from "../../activities/types.ts";
import { createBuildLogs } from "../../builder/build-log.ts";
import { mirrorName } from "../../builder/names.ts";
import { instancePaths } from "../../config/paths.ts";
import { readyFile } from "../../config/ready.ts";
import { ensureHostKey } from "../../config/sealing/host-key.ts";
import { createMirrorAdmin } from "../../mirror/admin-client.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { startProcess } from "../start-process.ts";
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
  const settingsFile = path.join(dir, "settings.json");
  await writeFile(settingsFile, JSON.stringify(settings), { mode: 0o600 });
  stack.use(
    await startProcess({
      name: "mirror",
      argv: entryPoint("mirror/main"),
      env: { SLIPWAY_SETTINGS: settingsFile },
      dir,
      isReady: async () => existsSync(readyFile(settings.runDir, "mirror")),
    }),
  );
  const mirror = createMirrorAdmin(settings.mirror.adminSocket);
  const ensureOrg = createEnsureOrg({ machines, mirror });
  const activities = createBuildActivities({
    builders,
    buildLogs: createBuildLogs((name) => instancePaths.buildLog(settings, name)),
    imageHost: settings.registry.imageHost,
    mirrorAddress: mirrorName(settings),
    ensureOrg,
    hostKey: await ensureHostKey(settings),
    mintToken: (org, scope, of) => mirror.mintToken(org, scope, of),
    sourceFault: (org, source, of) => mirror.sourceFault(org, source, of),
  });
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
