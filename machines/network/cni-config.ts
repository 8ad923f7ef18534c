import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import type { OrgNetwork } from "../types.ts";

/**
 * One plugin's network configuration (CNI spec 1.0, "Plugin configuration objects"): bridge, with host-local for addresses.
 * @param machine its link address, and the addresses to ask host-local for, each of another range; empty for whichever are free
 */
export function cniConfig(settings: Settings, network: OrgNetwork, machine: { readonly mac: string; readonly ips: readonly string[] }) {
  return {
    cniVersion: "1.0.0",
    name: network.bridge,
    type: "bridge",
    bridge: network.bridge,
    isGateway: true,
    // masquerading and the border between orgs are the ruleset's
    ipMasq: false,
    hairpinMode: false,
    ipam: {
      type: "host-local",
      dataDir: instancePaths.cniState(settings),
      ranges: [
        [{ subnet: network.subnetIpv4, gateway: network.gatewayIpv4 }],
        [{ subnet: network.subnetIpv6, gateway: network.gatewayIpv6 }],
      ],
      routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
    },
    args: { cni: machine },
  } as const;
}
