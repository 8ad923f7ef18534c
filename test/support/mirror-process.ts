import path from "node:path";
import { inject } from "vitest";
import type { Settings } from "../../config/settings.ts";
import { type MirrorAdmin, createMirrorAdmin } from "../../mirror/admin-client.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { imageHost } from "./mirror-harness.ts";
import { makeOwnedDir } from "./owned-dir.ts";
import { type ServiceProcess, createServiceProcess } from "./service-process.ts";

export type MirrorProcess = ServiceProcess & { readonly settings: Settings; readonly admin: MirrorAdmin };

/**
 * The process `mirror` as `slipway up` would start it, with settings and folders of its own. The image host has the mirror's port, so
 * that it listens nowhere else; loopback addresses of tests are in its IPv4 pool.
 */
export async function createMirrorProcess(
  containerdSocket = inject("containerdSocket"),
  amend: (settings: Settings) => Settings = (settings) => settings,
  toolsBinDir = inject("toolsBinDir"),
): Promise<MirrorProcess> {
  const port = await anyFreePort();
  const dir = await makeOwnedDir();
  const runDir = path.join(dir, "run");
  const settings = amend({
    instance: "0123abcd",
    dataDir: path.join(dir, "data"),
    runDir,
    hostId: "test",
    defaultOrg: "test",
    tools: { binDir: toolsBinDir, shareDir: dir },
    temporal: { address: "127.0.0.1:9", namespace: "default", uiUrl: "http://127.0.0.1:9" },
    s3: {
      endpoint: "http://127.0.0.1:9",
      region: "us-east-1",
      bucket: "none",
      accessKeyId: "none",
      secretAccessKey: "none",
      forcePathStyle: true,
    },
    registry: { url: "http://127.0.0.1:9", listen: { host: "127.0.0.1", port: 9 }, imageHost: `${imageHost}:${port}` },
    containerd: { socket: containerdSocket, managed: false, snapshotter: "overlayfs" },
    mirror: { port, adminSocket: path.join(runDir, "mirror.sock"), publicFallback: false },
    network: { ipv4Pool: "127.77.0.0/16", ipv6Pool: "fd00:99::/48" },
    router: { adminSocket: path.join(runDir, "router.sock"), listenHost: "127.0.0.1", firstPort: 9 },
    logs: { listen: { host: "127.0.0.1", port: 9 } },
    builder: { idleTimeoutMs: 1000, memoryMb: 512, cpus: 1 },
  });
  const service = await createServiceProcess({ name: "mirror", entry: "mirror/main", settings, dir });
  return { ...service, settings, admin: createMirrorAdmin(settings.mirror.adminSocket) };
}
