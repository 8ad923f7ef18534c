import { isIPv4 } from "node:net";
import { imageHostName } from "../../config/mirror-ports.ts";
import { instancePaths } from "../../config/paths.ts";
import { readWhenChanged } from "../../config/read-when-changed.ts";
import type { Settings } from "../../config/settings.ts";
import { readAddresses } from "../network/address-file.ts";
import { hostPartOf, machineAddresses, type MachineAddresses } from "../network/address-plan.ts";
import { readRoutes, type Route } from "../router/routes.ts";
import { builderMachineId, type OrgNetwork } from "../types.ts";
import type { Zone } from "./zone.ts";

/** The names of orgs as this host's files have them at the moment: where requests go, by the router's own record, is where names lead. */
export function createZones(settings: Settings): (network: OrgNetwork) => Promise<Zone> {
  const routesFile = instancePaths.routes(settings);
  const routes = readWhenChanged(routesFile, () => readRoutes(routesFile));
  const hostName = imageHostName(settings.registry.imageHost);
  return async (network) => {
    const [all, builder] = await Promise.all([routes(), readAddresses(settings, network.org, builderMachineId)]);
    return zoneOf(network, { imageHostName: hostName, routes: all, ...(builder === undefined ? {} : { builder }) });
  };
}

/** Only addresses of the org's own network have names in it. */
export function zoneOf(
  network: OrgNetwork,
  known: { readonly imageHostName: string; readonly routes: readonly Route[]; readonly builder?: MachineAddresses },
): Zone {
  const ofOrg = known.routes.filter(({ org }) => org === network.org);
  return {
    gateway: { ipv4: network.gatewayIpv4, ipv6: network.gatewayIpv6 },
    imageHostName: known.imageHostName,
    apps: new Map(ofOrg.map(({ app, targets }) => [app, targets.flatMap(({ address }) => inNetwork(network, address))])),
    ...(known.builder === undefined ? {} : { builder: known.builder }),
  };
}

/** Both addresses of the machine that a route leads to by one of them. */
function inNetwork(network: OrgNetwork, address: string): MachineAddresses[] {
  if (!isIPv4(address)) return [];
  const addresses = machineAddresses(network, hostPartOf({ ipv4: address, ipv6: "" }));
  return addresses.ipv4 === address ? [addresses] : [];
}
