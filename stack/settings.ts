import { randomBytes } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { instancePaths } from "../config/paths.ts";
import { loadSettings, type Settings } from "../config/settings.ts";
import { defaultSettings, instanceId, ipv4Pools, preferredPorts, type StackPorts } from "./default-settings.ts";
import { anyFreePort, firstFreePort } from "./free-port.ts";
import { StackError } from "./stack-error.ts";
import { type HostAddress, hostAddresses, isInPool } from "./host-addresses.ts";
import { writeFileAtomic } from "../config/write-file-atomic.ts";

export type SettingsOptions = {
  /** default: `SLIPWAY_DATA`, else /var/lib/slipway */
  readonly dataDir?: string;
  /** default: /run/slipway/<instance> */
  readonly runDir?: string;
  /** an existing containerd; default: `SLIPWAY_CONTAINERD`, else one of our own */
  readonly containerdSocket?: string;
  /** `any`: whatever the kernel gives, for instances that stand beside another */
  readonly ports?: "preferred" | "any";
  /** applied to new settings before they are written */
  readonly amend?: (settings: Settings) => Settings;
};

export function dataDirOf(options: Pick<SettingsOptions, "dataDir">, env: NodeJS.ProcessEnv = process.env): string {
  return path.resolve(options.dataDir ?? (env.SLIPWAY_DATA || "/var/lib/slipway"));
}

/** The settings of the instance, when it was set up. @throws SettingsError when they are wrong */
export function existingSettings(options: Pick<SettingsOptions, "dataDir">): Settings | undefined {
  const file = instancePaths.settings(dataDirOf(options));
  return existsSync(file) ? loadSettings(file) : undefined;
}

/**
 * Reads the instance's settings, or makes and writes them; what is set stays, but for the folder of the tools and the CA bundle.
 * @param accept what it throws keeps the settings from being written
 * @throws StackError when another containerd is asked for than the instance has
 */
export async function resolveSettings(
  options: SettingsOptions,
  tools: Settings["tools"],
  env: NodeJS.ProcessEnv = process.env,
  accept: (settings: Settings) => Promise<void> = async () => {},
): Promise<{ settings: Settings; changed: boolean }> {
  const dataDir = dataDirOf(options, env);
  await mkdir(dataDir, { recursive: true, mode: 0o711 });
  const file = instancePaths.settings(dataDir);
  const found = existsSync(file) ? await withGate(loadSettings(file)) : await newSettings(dataDir, options, tools, env);
  const settings = refresh(found, tools, env);
  requireSameContainerd(settings, containerdAsked(options, env));
  await accept(settings);
  const text = `${JSON.stringify(settings, undefined, 2)}\n`;
  const changed = (await readFile(file, "utf8").catch(() => "")) !== text;
  if (changed) await writeFileAtomic(file, text);
  return { settings, changed };
}

async function newSettings(dataDir: string, options: SettingsOptions, tools: Settings["tools"], env: NodeJS.ProcessEnv): Promise<Settings> {
  const instance = instanceId(realpathSync(dataDir));
  const containerdSocket = containerdAsked(options, env);
  const plain = defaultSettings({
    dataDir: realpathSync(dataDir),
    runDir: options.runDir ?? path.join("/run/slipway", instance),
    hostId: hostIdOf(hostname()),
    tools,
    ports: await choosePorts(options.ports ?? "preferred"),
    s3Keys: { accessKeyId: `slipway-${instance}`, secretAccessKey: randomBytes(24).toString("base64url") },
    ipv4Pool: freeIpv4Pool(instance, await hostAddresses(AbortSignal.timeout(10_000))),
    ...(containerdSocket === undefined ? {} : { containerdSocket }),
  });
  const settings: Settings = { ...plain, mirror: { ...plain.mirror, auth: "tokens" } };
  return options.amend?.(settings) ?? settings;
}

function containerdAsked(options: SettingsOptions, env: NodeJS.ProcessEnv): string | undefined {
  const socket = options.containerdSocket ?? env.SLIPWAY_CONTAINERD;
  return socket ? path.resolve(socket) : undefined;
}

/** Machines and images of an instance are in its containerd: it cannot be exchanged under them. */
function requireSameContainerd({ dataDir, containerd }: Settings, asked: string | undefined): void {
  if (asked === undefined || asked === containerd.socket) return;
  const found = containerd.managed ? "one of its own" : `the one at "${containerd.socket}"`;
  throw new StackError(
    `Cannot use containerd at "${asked}": the instance in "${dataDir}" has ${found}. Take it down first, with its data: slipway down --purge`,
  );
}

function refresh(settings: Settings, tools: Settings["tools"], env: NodeJS.ProcessEnv): Settings {
  const caBundle = caBundleOf(env) ?? settings.caBundle;
  // settings of before the registry knew tokens say nothing about them
  const access = { auth: "tokens", systemToken: `slipway_system_${randomBytes(32).toString("base64url")}` } as const;
  const registry = needsToken(settings) ? { ...settings.registry, ...access } : settings.registry;
  return { ...settings, tools, registry, ...(caBundle === undefined ? {} : { caBundle }) };
}

/** Settings of before builders could be reached say nothing about it. */
async function withGate(settings: Settings): Promise<Settings> {
  if (settings.builder.gate !== undefined) return settings;
  const port = await firstFreePort(preferredPorts.builderGate, new Set());
  return { ...settings, builder: { ...settings.builder, gate: { listen: { host: "127.0.0.1", port } } } };
}

const needsToken = ({ registry }: Settings) => registry.auth !== "none" && registry.systemToken === undefined;

/** The CA bundle this host was told to trust, by the variables that Go, OpenSSL and Node read. */
export function caBundleOf(env: NodeJS.ProcessEnv): string | undefined {
  return [env.SLIPWAY_CA_BUNDLE, env.SSL_CERT_FILE, env.NODE_EXTRA_CA_CERTS]
    .map((file) => (file ? path.resolve(file) : ""))
    .find((file) => file !== "" && existsSync(file));
}

export function hostIdOf(name: string): string {
  const id = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, "-")
    .replace(/^-+/, "")
    .slice(0, 63);
  return id === "" ? "host" : id;
}

/** The instance's own pool, or the next that no link of this host has an address in. */
export function freeIpv4Pool(instance: string, addresses: readonly HostAddress[]): string {
  const pools = ipv4Pools(instance);
  return pools.find((pool) => !addresses.some(({ address }) => isInPool(address, pool))) ?? (pools[0] as string);
}

async function choosePorts(which: "preferred" | "any"): Promise<StackPorts> {
  const chosen = new Set<number>();
  const entries: [string, number][] = [];
  for (const [name, preferred] of Object.entries(preferredPorts)) {
    const port = which === "preferred" ? await firstFreePort(preferred, chosen) : await anyFreePort();
    chosen.add(port);
    entries.push([name, port]);
  }
  return Object.fromEntries(entries) as Record<keyof StackPorts, number>;
}
