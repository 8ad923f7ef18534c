import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { readWhenChanged } from "../../config/read-when-changed.ts";
import { dnsPort } from "../network/ruleset.ts";

export type Server = { readonly address: string; readonly port: number };

/** MAXNS of resolv.conf(5) */
const most = 3;

/** The resolvers that `resolv.conf` of the host names; its loopback if it names none, as resolv.conf(5) has it. Read anew when it changes. */
export function createHostServers(file = "/etc/resolv.conf"): () => Promise<readonly Server[]> {
  return readWhenChanged(file, async () => serversIn(await readFile(file, "utf8").catch(() => "")));
}

export function serversIn(resolvConfText: string): readonly Server[] {
  const addresses = [...resolvConfText.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1]!);
  const usable = addresses.filter((address) => isIP(address) !== 0).slice(0, most);
  return (usable.length === 0 ? ["127.0.0.1"] : usable).map((address) => ({ address, port: dnsPort }));
}
