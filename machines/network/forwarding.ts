import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";

const forwarding = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] as const;

/** Switches routing on, having written down what was before, for {@link restoreForwarding}. */
export async function ensureForwarding(settings: Settings): Promise<void> {
  const before = new Map<string, string>();
  for (const key of forwarding) {
    const value = await readSysctl(key);
    if (value === "0") before.set(key, value);
  }
  if (before.size === 0) return;
  for (const key of await interfacesThatLearnRoutes()) before.set(key, "1");
  const saved = { ...Object.fromEntries(before), ...(await readSaved(settings)) };
  await writeFileAtomic(instancePaths.savedSysctls(settings), `${JSON.stringify(saved, null, 2)}\n`);
  // a router ignores router advertisements (accept_ra=1), and with them its own default route, unless told otherwise (2)
  for (const key of before.keys()) if (key.endsWith("/accept_ra")) await writeSysctl(key, "2");
  for (const key of forwarding) await writeSysctl(key, "1");
}

/** Puts back what {@link ensureForwarding} changed. Must not be called while another instance still routes. */
export async function restoreForwarding(settings: Settings): Promise<void> {
  const saved = Object.entries(await readSaved(settings));
  // routing first: an interface that learns its routes must not miss an advertisement in between
  for (const [key, value] of saved) if (!key.endsWith("/accept_ra")) await writeSysctl(key, value);
  for (const [key, value] of saved) if (key.endsWith("/accept_ra")) await writeSysctl(key, value);
  await rm(instancePaths.savedSysctls(settings), { force: true });
}

async function interfacesThatLearnRoutes(): Promise<readonly string[]> {
  const keys: string[] = [];
  for (const name of await readdir("/proc/sys/net/ipv6/conf").catch(() => [])) {
    const key = `net/ipv6/conf/${name}/accept_ra`;
    if (name !== "all" && name !== "default" && name !== "lo" && (await readSysctl(key)) === "1") keys.push(key);
  }
  return keys;
}

async function readSaved(settings: Settings): Promise<Record<string, string>> {
  const text = await readFile(instancePaths.savedSysctls(settings), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "{}";
    throw error;
  });
  return JSON.parse(text) as Record<string, string>;
}

/** Undefined where the kernel has no such key (IPv6 off, interface gone). */
async function readSysctl(key: string): Promise<string | undefined> {
  return (await readFile(`/proc/sys/${key}`, "utf8").catch(() => undefined))?.trim();
}

async function writeSysctl(key: string, value: string): Promise<void> {
  await writeFile(`/proc/sys/${key}`, value).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}
