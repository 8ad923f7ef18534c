import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import type { OrgNetwork } from "../types.ts";

/** Host parts that host-local holds, of IPv4 and IPv6 addresses alike, and for which machines: a file for each, named as the address. */
export async function readReservations(settings: Settings, network: OrgNetwork): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
  const dir = path.join(instancePaths.cniState(settings), network.bridge);
  const held = new Map<number, Set<string>>();
  for (const file of await readdir(dir).catch(() => [])) {
    const hostPart = reservedHostPart(file);
    if (hostPart === undefined) continue;
    const text = await readFile(path.join(dir, file), "utf8").catch(() => undefined);
    if (text === undefined) continue;
    const ids = held.get(hostPart) ?? new Set();
    held.set(hostPart, ids.add(text.split("\n")[0]!.trim()));
  }
  return held;
}

function reservedHostPart(file: string): number | undefined {
  const ipv4 = /^\d+\.\d+\.\d+\.(\d+)$/.exec(file);
  if (ipv4 !== null) return Number(ipv4[1]);
  const ipv6 = /^[0-9a-f:]+:([0-9a-f]+)$/i.exec(file);
  return ipv6 === null ? undefined : Number.parseInt(ipv6[1]!, 16);
}
