import { createHash } from "node:crypto";
import { SocketAddress } from "node:net";
import type { OrgNetwork } from "../types.ts";

export type AddressPools = { readonly ipv4Pool: string; readonly ipv6Pool: string };

/** A /16 holds that many /24. */
export const maxOrgs = 256;

/**
 * The network of the org that has place `index` in this instance: a /24 of the /16 pool, a /64 of the ULA /48, gateways at .1 and ::1.
 * @throws RangeError when a pool has another size or the index is outside of it.
 */
export function orgNetwork(pools: AddressPools, instance: string, org: string, index: number): OrgNetwork {
  if (!Number.isInteger(index) || index < 0 || index >= maxOrgs) {
    throw new RangeError(`Cannot plan the network of org "${org}": this host is full, it holds ${maxOrgs} orgs`);
  }
  const [a, b] = ipv4PoolOctets(pools.ipv4Pool);
  const ipv6 = `${ipv6PoolPrefix(pools.ipv6Pool)}:${index.toString(16)}`;
  return {
    org,
    bridge: bridgeName(instance, org),
    gatewayIpv4: `${a}.${b}.${index}.1`,
    gatewayIpv6: `${ipv6}::1`,
    subnetIpv4: `${a}.${b}.${index}.0/24`,
    subnetIpv6: `${ipv6}::/64`,
  };
}

/** All bridges of all instances start with this: the filter rules of each know the others by it. */
export const bridgePrefix = "slw";

/** An interface name holds 15 characters at most. */
export function bridgeName(instance: string, org: string): string {
  return bridgePrefix + createHash("sha256").update(`${instance}/${org}`).digest("hex").slice(0, 8);
}

/** Locally administered, and fixed: a bridge otherwise takes the lowest address of its ports, and neighbours lose it. */
export function bridgeMac(bridge: string): string {
  const bytes = createHash("sha256").update(bridge).digest().subarray(0, 5);
  return ["02", ...[...bytes].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/** Both end in the same host part, so that one link address follows from either. */
export type MachineAddresses = { readonly ipv4: string; readonly ipv6: string };

export const firstHostPart = 2;
const lastHostPart = 254;

export function machineAddresses(network: OrgNetwork, hostPart: number): MachineAddresses {
  const ipv6 = network.subnetIpv6.replace(/\/64$/, hostPart.toString(16));
  return {
    ipv4: network.subnetIpv4.replace(/0\/24$/, String(hostPart)),
    // as CNI plugins write it
    ipv6: new SocketAddress({ address: ipv6, family: "ipv6" }).address,
  };
}

export function hostPartOf({ ipv4 }: MachineAddresses): number {
  return Number(ipv4.slice(ipv4.lastIndexOf(".") + 1));
}

/** The first that is free after `last`, which the turn ends with; undefined when none is. */
export function nextHostPart(last: number, isFree: (hostPart: number) => boolean): number | undefined {
  const count = lastHostPart - firstHostPart + 1;
  const from = Number.isInteger(last) && last >= firstHostPart && last <= lastHostPart ? last - firstHostPart + 1 : 0;
  for (let step = 0; step < count; step++) {
    const hostPart = firstHostPart + ((from + step) % count);
    if (isFree(hostPart)) return hostPart;
  }
  return undefined;
}

/** A function of the address: whoever remembers where an address was is right about the next machine that has it, too. */
export function machineMac({ ipv4 }: MachineAddresses): string {
  return ["02", "53", ...ipv4.split(".").map((octet) => Number(octet).toString(16).padStart(2, "0"))].join(":");
}

function ipv4PoolOctets(pool: string): readonly [number, number] {
  const match = /^(\d{1,3})\.(\d{1,3})\.0\.0\/16$/.exec(pool);
  const [a, b] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || a > 255 || b > 255) throw new RangeError(`Cannot use ipv4Pool "${pool}": expected a /16 such as 10.87.0.0/16`);
  return [a, b];
}

function ipv6PoolPrefix(pool: string): string {
  const match = /^(f[cd][0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4})::\/48$/i.exec(pool);
  if (match === null) throw new RangeError(`Cannot use ipv6Pool "${pool}": expected a ULA /48 such as fd12:3456:789a::/48`);
  return match[1]!.toLowerCase();
}
