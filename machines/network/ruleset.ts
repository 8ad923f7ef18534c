import type { OrgNetwork } from "../types.ts";
import { bridgePrefix } from "./address-plan.ts";

export function tableName(instance: string): string {
  return `slipway_${instance}`;
}

/** Where clouds tell a host its own credentials: link-local addresses, and those of Azure, Alibaba, AWS and Google that are not. */
const metadataServices = {
  ipv4: ["169.254.0.0/16", "168.63.129.16", "100.100.100.200"],
  ipv6: ["fe80::/10", "fd00:ec2::254", "fd20:ce::254"],
} as const;

/**
 * The whole nftables table of an instance as one transaction for `nft -f`, however often it is loaded. Of a machine it lets pass:
 * to the outside (masqueraded: builds fetch packages), to its own org, to the mirror's ports and to DNS on its gateway. Chains of others
 * are not overruled: `accept` ends this table's chain only, `drop` is final.
 */
export function ruleset(
  instance: string,
  pools: { ipv4Pool: string; ipv6Pool: string },
  mirrorPorts: readonly number[],
  networks: readonly OrgNetwork[],
): string {
  const table = `inet ${tableName(instance)}`;
  const bridges = networks.map(({ bridge }) => `"${bridge}"`).join(", ");
  return `table ${table}
delete table ${table}
table ${table} {
  set bridges {
    type ifname
    ${bridges === "" ? "" : `elements = { ${bridges} }`}
  }

  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname != @bridges oifname != @bridges return
${lines(networks, spoofed)}
${lines(networks, ({ bridge }) => [`iifname "${bridge}" oifname "${bridge}" accept`])}
    iifname "${bridgePrefix}*" oifname "${bridgePrefix}*" drop
    iifname @bridges ip daddr { ${metadataServices.ipv4.join(", ")} } drop
    iifname @bridges ip6 daddr { ${metadataServices.ipv6.join(", ")} } drop
    iifname @bridges accept
    ct state established,related accept
    drop
  }

  chain input {
    type filter hook input priority filter; policy accept;
    iifname @bridges jump from_machine
  }

  chain from_machine {
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
${lines(networks, spoofed)}
${lines(networks, toResolver)}
    ct state established,related accept
${lines(networks, (network) => toMirror(network, mirrorPorts))}
    drop
  }

  chain output {
    type filter hook output priority filter; policy accept;
    ${whileResolverIsAway("icmp")}
    ${whileResolverIsAway("icmpv6")}
  }

  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${pools.ipv4Pool} oifname != "${bridgePrefix}*" masquerade
    ip6 saddr ${pools.ipv6Pool} oifname != "${bridgePrefix}*" masquerade
  }
}
`;
}

function spoofed({ bridge, subnetIpv4, subnetIpv6 }: OrgNetwork): readonly string[] {
  return [`iifname "${bridge}" ip saddr != ${subnetIpv4} drop`, `iifname "${bridge}" ip6 saddr != ${subnetIpv6} drop`];
}

function toMirror({ bridge, gatewayIpv4, gatewayIpv6 }: OrgNetwork, ports: readonly number[]): readonly string[] {
  return [
    `iifname "${bridge}" ip daddr ${gatewayIpv4} tcp dport { ${ports.join(", ")} } accept`,
    `iifname "${bridge}" ip6 daddr ${gatewayIpv6} tcp dport { ${ports.join(", ")} } accept`,
  ];
}

/** where the gateway answers its org */
export const dnsPort = 53;
/** questions of an org's machines over UDP; more than any build asks, and no work for a resolver */
const dnsRate = "limit rate over 1000/second burst 1000 packets";

/** Before what belongs to a flow that is known: each datagram counts. */
function toResolver({ bridge, gatewayIpv4, gatewayIpv6 }: OrgNetwork): readonly string[] {
  return [
    `iifname "${bridge}" udp dport ${dnsPort} ${dnsRate} drop`,
    ...["udp", "tcp"].flatMap((protocol) => [
      `iifname "${bridge}" ip daddr ${gatewayIpv4} ${protocol} dport ${dnsPort} accept`,
      `iifname "${bridge}" ip6 daddr ${gatewayIpv6} ${protocol} dport ${dnsPort} accept`,
    ]),
  ];
}

/** A machine whose question meets no resolver, because that is just being started again, waits and asks anew instead of failing at once. */
function whileResolverIsAway(protocol: "icmp" | "icmpv6"): string {
  return `oifname @bridges ${protocol} type destination-unreachable ${protocol} code port-unreachable drop`;
}

function lines(networks: readonly OrgNetwork[], rules: (network: OrgNetwork) => readonly string[]): string {
  return networks.flatMap((network) => rules(network).map((rule) => `    ${rule}`)).join("\n");
}
