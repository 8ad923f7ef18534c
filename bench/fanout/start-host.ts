import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { orgNamespace } from "../../config/paths.ts";
import { readyFile } from "../../config/ready.ts";
import type { Settings } from "../../config/settings.ts";
import { type Containerd, ensureNamespace, openContainerd } from "../../containerd/client.ts";
import { removeNamespace } from "../../containerd/remove-namespace.ts";
import { type MirrorAdmin, createMirrorAdmin } from "../../mirror/admin-client.ts";
import { defaultSettings, preferredPorts } from "../../stack/default-settings.ts";
import { containerdConfig, containerdDaemon } from "../../stack/engines.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import type { InstalledTools } from "../../tools/install.ts";
import { type StartedProcess, startProcess } from "../headline/start-process.ts";
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
  const containerd = stack.use(await startContainerd({ tools, ownedDir, dir, name, network }));
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

type ContainerdOptions = Omit<FanoutHostOptions, "registry"> & { readonly dir: string };

async function startContainerd({ tools, ownedDir, dir, name, network }: ContainerdOptions): Promise<Containerd> {
  await using stack = new AsyncDisposableStack();
  const [socket, configFile] = [path.join(dir, "c.sock"), path.join(dir, "containerd.toml")];
  const options = { binDir: tools.binDir, root: path.join(dir, "root"), state: path.join(dir, "state"), socket, configFile };
  await writeFile(configFile, containerdConfig(options));
  const containerd = openContainerd(socket);
  stack.use(containerd);
  const { argv, env } = containerdDaemon(options);
  const isReady = (): Promise<boolean> =>
    containerd.version.version({}, { signal: AbortSignal.timeout(2_000) }).then(
      () => true,
      () => false,
    );
  stack.use(await startProcess({ name: `${name}-containerd`, argv: network.command(argv), env, dir: ownedDir, isReady }));
  const started = stack.move();
  return { ...containerd, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

function settingsOf(dir: string, tools: InstalledTools, hostId: string, registry: FanoutHostOptions["registry"]): Settings {
  const settings = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId,
    tools,
    ports: preferredPorts,
    s3Keys: { accessKeyId: "none", secretAccessKey: "none" },
    ipv4Pool: "10.213.0.0/16",
    containerdSocket: path.join(dir, "c.sock"),
  });
  return {
    ...settings,
    registry: { ...settings.registry, ...registry, imageHost: `registry.slipway.internal:${mirrorPort}` },
    mirror: { ...settings.mirror, port: mirrorPort, publicFallback: false },
  };
}
