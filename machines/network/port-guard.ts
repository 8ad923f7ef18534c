import { existsSync } from "node:fs";
import { z } from "zod";
import { createKeyedQueue } from "../../config/keyed-queue.ts";
import type { Settings } from "../../config/settings.ts";
import { ProgramError, runProgram } from "../run-program.ts";
import { type MachineAddresses, machineMac } from "./address-plan.ts";
import { loadRules } from "./load-rules.ts";
import { tableName } from "./ruleset.ts";

export const guardTable = (instance: string): string => `bridge ${tableName(instance)}`;

type Guarded = Pick<Settings, "instance" | "runDir">;

/**
 * Lets a machine's port of the bridge send only as that machine: with its own link address, and with its own IPv4, IPv6 and link-local
 * address in ARP, neighbour discovery and whatever else. One transaction; other ports' rules stay as they are.
 */
export async function guardPort(settings: Guarded, port: string, addresses: MachineAddresses, signal: AbortSignal): Promise<void> {
  await loadRules(settings, portRules(settings.instance, port, addresses), signal);
}

const releases = createKeyedQueue();

/** Forgets the ports whose link is gone. One that is still going is forgotten the next time: nothing comes out of it any more. */
export async function releasePorts(settings: Guarded, signal: AbortSignal): Promise<void> {
  await releases(settings.instance, () => release(settings, signal));
}

async function release(settings: Guarded, signal: AbortSignal): Promise<void> {
  const table = guardTable(settings.instance);
  const stale = (await guardChains(settings.instance, signal)).filter(({ port }) => !existsSync(`/sys/class/net/${port}`));
  if (stale.length === 0) return;
  const elements = stale.map(({ port }) => `delete element ${table} ports { "${port}" }`);
  const chains = stale.map(({ chain }) => `delete chain ${table} ${chain}`);
  await loadRules(settings, `${[...elements, ...chains].join("\n")}\n`, signal);
}

/** What {@link guardPort} loads. A frame that no rule knows is dropped. */
export function portRules(instance: string, port: string, addresses: MachineAddresses): string {
  const { ipv4, ipv6 } = addresses;
  const mac = machineMac(addresses);
  const linkLocal = linkLocalOf(mac);
  const [table, chain] = [guardTable(instance), chainOf(port)];
  const isTargetOfOthers = [ipv6, linkLocal].map((address) => `@th,64,128 != 0x${ipv6Hex(address)}`).join(" ");
  return `table ${table} {
  map ports { type ifname : verdict; }
  chain prerouting { type filter hook prerouting priority -300; policy accept; }
  chain ${chain} { }
}
flush chain ${table} prerouting
add rule ${table} prerouting iifname vmap @ports
flush chain ${table} ${chain}
table ${table} {
  chain ${chain} {
    ether saddr != ${mac} drop
    ether type arp arp saddr ether ${mac} arp saddr ip ${ipv4} accept
    ether type ip ip saddr ${ipv4} accept
    ether type != ip6 drop
    icmpv6 type { nd-router-advert, nd-redirect } drop
    icmpv6 type nd-neighbor-advert ${isTargetOfOthers} drop
    ip6 saddr { ${ipv6}, ${linkLocal} } accept
    ip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld2-listener-report } accept
    drop
  }
}
add element ${table} ports { "${port}" : goto ${chain} }
`;
}

/** The address that Linux makes of a link address (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const [a, b, c, d, e, f] = mac.split(":").map((byte) => Number.parseInt(byte, 16)) as [number, number, number, number, number, number];
  const words = [(a ^ 2) * 256 + b, c * 256 + 0xff, 0xfe00 + d, e * 256 + f];
  return `fe80::${words.map((word) => word.toString(16)).join(":")}`;
}

/** 32 hex digits of an address with one "::" or none. */
export function ipv6Hex(address: string): string {
  const [head = "", tail] = address.split("::");
  const words = (text: string | undefined) => (text === undefined || text === "" ? [] : text.split(":"));
  const [before, after] = [words(head), words(tail)];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].map((word) => word.padStart(4, "0")).join("");
}

const chainOf = (port: string): string => `from_${port}`;

const listing = z.object({ nftables: z.array(z.object({ chain: z.object({ table: z.string(), name: z.string() }).optional() })) });

async function guardChains(instance: string, signal: AbortSignal): Promise<{ chain: string; port: string }[]> {
  let text: string;
  try {
    text = await runProgram("nft", ["-j", "list", "chains", "bridge"], { signal });
  } catch (error) {
    if (error instanceof ProgramError && error.stderr.includes("No such file")) return [];
    throw error;
  }
  return listing.parse(JSON.parse(text)).nftables.flatMap(({ chain }) => {
    const port = /^from_(.+)$/.exec(chain?.name ?? "")?.[1];
    return chain?.table === tableName(instance) && port !== undefined ? [{ chain: chain.name, port }] : [];
  });
}
