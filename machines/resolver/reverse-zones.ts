import { ipv6Hex } from "../network/port-guard.ts";
import type { AddressPools } from "../network/address-plan.ts";

/** Beneath which names the addresses of an instance's networks are looked up (RFC 1035, 3.5; RFC 3596, 2.5): nobody else knows them. */
export function reverseZones({ ipv4Pool, ipv6Pool }: AddressPools): readonly string[] {
  const [a, b] = ipv4Pool.split(".");
  const nibbles = ipv6Hex(ipv6Pool.replace(/\/48$/, "")).slice(0, 48 / 4);
  return [`${b}.${a}.in-addr.arpa`, `${nibbles.split("").toReversed().join(".")}.ip6.arpa`];
}
