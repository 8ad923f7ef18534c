import { execFile } from "node:child_process";
import { existsSync, readdirSync, rmdirSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { Settings } from "../config/settings.ts";
import { hostAddresses, isInPool } from "./host-addresses.ts";
import { mountsBelow } from "./mounts.ts";
import { shimsOf } from "./shims.ts";

const run = promisify(execFile);

/** What of an instance is still on the host though nothing of it should be; one readable line each. */
export async function leftovers(settings: Settings, signal: AbortSignal): Promise<string[]> {
  const mounts = [...(await mountsBelow(settings.dataDir)), ...(await mountsBelow(settings.runDir))];
  const links = (await hostAddresses(signal)).filter(({ address }) => isInPool(address, settings.network.ipv4Pool));
  const shims = settings.containerd.managed ? shimsOf(settings.containerd.socket) : [];
  return [
    ...mounts.map((point) => `mount "${point}"`),
    ...links.map(({ link, address }) => `network link "${link}" with ${address}`),
    ...cgroupsOf(settings.instance).map((dir) => `cgroup "${dir}"`),
    ...(await nftTables(settings.instance, signal)).map((table) => `nftables table "${table}"`),
    ...shims.map(({ pid }) => `containerd shim with pid ${pid}`),
  ];
}

/** Removes the cgroups of the instance that hold no process any more, the deepest first. */
export function removeEmptyCgroups(instance: string): void {
  for (const dir of cgroupsOf(instance)) removeTree(dir);
}

function removeTree(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) removeTree(path.join(dir, entry.name));
  try {
    rmdirSync(dir);
  } catch {
    // a process is still in it: `leftovers` tells
  }
}

/** Of version 2, or of each controller of version 1. */
function cgroupsOf(instance: string): string[] {
  const root = "/sys/fs/cgroup";
  const hierarchies = [root, ...readdirSync(root).map((name) => path.join(root, name))];
  return hierarchies.map((dir) => path.join(dir, "slipway", instance)).filter((dir) => existsSync(dir));
}

async function nftTables(instance: string, signal: AbortSignal): Promise<string[]> {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const { stdout } = await run("nft", ["list", "tables"], { signal, env });
  return stdout.split("\n").filter((line) => line.endsWith(`slipway_${instance}`));
}
