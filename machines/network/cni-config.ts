import { instancePaths } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import type { OrgNetwork } from "../types.ts";
import { type MachineAddresses, machineMac } from "./address-plan.ts";

/**
 * One plugin's network configuration (CNI spec 1.0, "Plugin configuration objects"): bridge, with host-local for addresses.
 * @param addresses what to ask host-local for; none when they are given back
 */
export function cniConfig(settings: Settings, network: OrgNetwork, addresses?: MachineAddresses) {
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
    ...(addresses === undefined ? {} : { args: { cni: { mac: machineMac(addresses), ips: [addresses.ipv4, addresses.ipv6] } } }),
  } as const;
}
