import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { readyFile } from "../../config/ready.ts";
import type { Settings } from "../../config/settings.ts";
import { preferredPorts } from "../../stack/default-settings.ts";
import { s3Server } from "../../stack/engines.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import type { InstalledTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { startProcess } from "../start-process.ts";
import type { NetworkHost } from "./netns.ts";

export type FanoutRegistry = AsyncDisposable & { readonly url: string; readonly systemToken: string };

export type FanoutRegistryOptions = { readonly tools: InstalledTools; readonly ownedDir: string; readonly network: NetworkHost };

/** The durable registry over versitygw, both on one host of the bench's network. */
export async function startRegistry({ tools, ownedDir, network }: FanoutRegistryOptions): Promise<FanoutRegistry> {
  await using stack = new AsyncDisposableStack();
  const dir = path.join(ownedDir, "registry");
  await mkdir(path.join(dir, "s3"), { recursive: true });
  const keys = { accessKeyId: "fanout", secretAccessKey: randomBytes(16).toString("hex") };
  const s3 = s3Server({ binDir: tools.binDir, dir: path.join(dir, "s3"), port: preferredPorts.s3, region: "us-east-1", ...keys });
  const [command, ...probe] = network.command(["bash", "-c", `</dev/tcp/127.0.0.1/${preferredPorts.s3}`]);
  stack.use(
    await startProcess({
      name: "s3",
      argv: network.command(s3.argv),
      env: s3.env,
      dir: ownedDir,
      isReady: () => new Promise((resolve) => execFile(command, probe, (error) => resolve(error === null))),
    }),
  );
  const settings = settingsOf(dir, tools, network.address, keys);
  const settingsFile = path.join(dir, "settings.json");
  await writeFile(settingsFile, JSON.stringify(settings), { mode: 0o600 });
  stack.use(
    await startProcess({
      name: "registry",
      argv: network.command(entryPoint("registry/main")),
      env: { SLIPWAY_SETTINGS: settingsFile },
      dir: ownedDir,
      isReady: async () => existsSync(readyFile(settings.runDir, "registry")),
    }),
  );
  const started = stack.move();
  const { url, systemToken } = settings.registry;
  return { url, systemToken, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

function settingsOf(
  dir: string,
  tools: InstalledTools,
  address: string,
  s3Keys: { readonly accessKeyId: string; readonly secretAccessKey: string },
): Settings & { readonly registry: { readonly systemToken: string } } {
  const settings = benchSettings({ dir, tools, hostId: "registry", s3Keys, ipv4Pool: "10.213.0.0/16" });
  const port = preferredPorts.registry;
  const systemToken = randomBytes(32).toString("base64url");
  const registry = { url: `http://${address}:${port}`, listen: { host: address, port }, auth: "tokens", systemToken } as const;
  return { ...settings, registry: { ...settings.registry, ...registry } };
}
