import { existsSync } from "node:fs";
import { mirrorPorts } from "../../config/mirror-ports.ts";
import type { Settings } from "../../config/settings.ts";
import { idMappingOf, type IdMapping } from "../id-mapping.ts";
import { MachineError } from "../errors.ts";
import type { OrgNetwork } from "../types.ts";
import { orgNetwork } from "./address-plan.ts";
import { ensureBridge } from "./bridge.ts";
import { ensureForwarding } from "./forwarding.ts";
import { loadRules } from "./load-rules.ts";
import { networksOf, readNetworkRegistry, withOrg, writeNetworkRegistry } from "./network-registry.ts";
import { ruleset } from "./ruleset.ts";

export type OrgNetworks = {
  ensure(org: string, signal: AbortSignal): Promise<{ readonly network: OrgNetwork; readonly idMapping: IdMapping }>;
};

/** The networks of this instance's orgs. Fails closed: without its filter rules an org has no bridge. */
export function createOrgNetworks(settings: Settings): OrgNetworks {
  const ready = new Set<string>();
  let last: Promise<unknown> = Promise.resolve();

  async function ensure(org: string, signal: AbortSignal) {
    const before = await readNetworkRegistry(settings);
    const registry = withOrg(before, org);
    const index = registry.orgs[org]!;
    const network = orgNetwork(settings.network, settings.instance, org, index);
    if (!ready.has(org) || !existsSync(`/sys/class/net/${network.bridge}`)) {
      try {
        if (registry !== before) await writeNetworkRegistry(settings, registry);
        const rules = ruleset(
          settings.instance,
          settings.network,
          mirrorPorts(settings.mirror.port, settings.registry.imageHost),
          networksOf(settings, registry),
        );
        await loadRules(settings, rules, signal);
        await ensureForwarding(settings);
        await ensureBridge(network, signal);
      } catch (cause) {
        throw new MachineError("NETWORK_FAILED", `Cannot set up the network of org "${org}": ${(cause as Error).message}`, { cause });
      }
      ready.add(org);
    }
    return { network, idMapping: idMappingOf(settings.instance, index) };
  }

  return {
    ensure(org, signal) {
      const turn = last.then(() => ensure(org, signal));
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}
