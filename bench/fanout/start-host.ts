import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { orgNamespace } from "../../config/paths.ts";
import { readyFile } from "../../config/ready.ts";
import type { Settings } from "../../config/settings.ts";
import { ensureNamespace } from "../../containerd/client.ts";
import { removeNamespace } from "../../containerd/remove-namespace.ts";
import { type MirrorAdmin, createMirrorAdmin } from "../../mirror/admin-client.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import type { InstalledTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { startContainerd } from "../start-containerd.ts";
import { type StartedProcess, startProcess } from "../start-process.ts";
import type { NetworkHost } from "./netns.ts";

export const org = "bench";
const mirrorPort = 5000;
const peerPort = 5004;

/** A host of the bench: containerd and the mirror on an address of its own. */
export type FanoutHost = AsyncDisposable & {
  readonly network: NetworkHost;
  readonly mirrorUrl: string;
  readonly admin: MirrorAdmin;
  /** Ends the mirror and starts it with peers or without. */
  restartMirror(peers: boolean): Promise<void>;
  /** The org begins again with nothing. */
  empty(): Promise<void>;
};

export type FanoutHostOptions = {
  readonly tools: InstalledTools;
  /** takes logs and pids */
  readonly ownedDir: string;
  readonly name: string;
  readonly network: NetworkHost;
  readonly registry: { readonly url: string; readonly systemToken: string };
};

export async function startHost({ tools, ownedDir, name, network, registry }: FanoutHostOptions): Promise<FanoutHost> {
  await using stack = new AsyncDisposableStack();
  const dir = path.join(ownedDir, name);
  await mkdir(dir);
  const containerd = stack.use(
    await startContainerd({ binDir: tools.binDir, dir, ownedDir, name: `${name}-containerd`, command: (argv) => network.command(argv) }),
  );
  const settings = settingsOf(dir, tools, name, registry);
  const admin = createMirrorAdmin(settings.mirror.adminSocket);
  let mirror: StartedProcess | undefined;
  stack.defer(async () => await mirror?.[Symbol.asyncDispose]());
  const serve = async (): Promise<void> => {
    await ensureNamespace(containerd, orgNamespace(org), AbortSignal.timeout(10_000));
    await admin.putOrg(org, [network.address], AbortSignal.timeout(20_000));
  };

  async function restartMirror(peers: boolean): Promise<void> {
    await mirror?.[Symbol.asyncDispose]();
    const url = `http://${network.address}:${peerPort}`;
    const peer = peers ? { peer: { listen: { host: network.address, port: peerPort }, url } } : {};
    const settingsFile = path.join(dir, "settings.json");
    await writeFile(settingsFile, JSON.stringify({ ...settings, mirror: { ...settings.mirror, ...peer } }), { mode: 0o600 });
    const ready = readyFile(settings.runDir, "mirror");
    await rm(ready, { force: true });
    mirror = await startProcess({
      name: `${name}-mirror`,
      argv: network.command(entryPoint("mirror/main")),
      env: { SLIPWAY_SETTINGS: settingsFile },
      dir: ownedDir,
      isReady: async () => existsSync(ready),
    });
    await serve();
  }

  const started = stack.move();
  return {
    network,
    mirrorUrl: `http://${network.address}:${mirrorPort}`,
    admin,
    restartMirror,
    async empty() {
      await removeNamespace(containerd, orgNamespace(org), settings.containerd.snapshotter, AbortSignal.timeout(120_000));
      await serve();
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

function settingsOf(dir: string, tools: InstalledTools, hostId: string, registry: FanoutHostOptions["registry"]): Settings {
  const settings = benchSettings({ dir, tools, hostId, ipv4Pool: "10.213.0.0/16", containerdSocket: path.join(dir, "c.sock") });
  return {
    ...settings,
    registry: { ...settings.registry, ...registry, imageHost: `registry.slipway.internal:${mirrorPort}` },
    mirror: { ...settings.mirror, port: mirrorPort, publicFallback: false },
  };
}
