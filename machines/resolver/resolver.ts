import { dnsPort } from "../network/ruleset.ts";
import type { OrgNetwork } from "../types.ts";
import type { ForwarderOptions } from "./forwarder.ts";
import { createOrgService, type ListenerChange, type OrgService } from "./org-service.ts";
import type { OwnNames, Zone } from "./zone.ts";

export type ResolverOptions = {
  /** those that this host has at the moment */
  readonly networks: () => Promise<readonly OrgNetwork[]>;
  /** whether an org's gateway addresses can be there yet */
  readonly isUp: (network: OrgNetwork) => boolean;
  readonly zone: (network: OrgNetwork) => Promise<Zone>;
  readonly own: OwnNames;
  readonly forwarder: ForwarderOptions;
  readonly port?: number;
  /** how often it is looked at whether there is a network more, or a listener less; 250 */
  readonly lookEveryMs?: number;
  readonly onChange?: (change: ListenerChange & { readonly org: string }) => void;
};

export type Resolver = {
  /** of each listener its org, transport and address */
  serving(): readonly string[];
  /** Waits for nobody: what is asked stays without an answer. */
  close(): Promise<void>;
};

/** Answers the machines of each org on its own gateway addresses, from when these are there on. Errors of one org are not another's. */
export async function openResolver(options: ResolverOptions): Promise<Resolver> {
  const { networks, isUp, zone, own, forwarder, port = dnsPort, lookEveryMs = 250, onChange } = options;
  const services = new Map<string, OrgService>();
  let closed = false;

  async function look(): Promise<void> {
    for (const network of await networks()) {
      if (closed) return;
      if (isUp(network)) await serviceOf(network).open();
    }
  }

  function serviceOf(network: OrgNetwork): OrgService {
    const { org } = network;
    const service =
      services.get(org) ??
      createOrgService(network, {
        zone: () => zone(network),
        own,
        forwarder,
        port,
        onChange: (change) => onChange?.({ org, ...change }),
      });
    services.set(org, service);
    return service;
  }

  let looking: Promise<void> | undefined;
  const lookOnce = async (): Promise<void> => {
    looking ??= look().finally(() => (looking = undefined));
    await looking;
  };
  await lookOnce();
  // a file that cannot be read now can be later
  const timer = setInterval(() => void lookOnce().catch(() => undefined), lookEveryMs);
  return {
    serving: () => [...services].flatMap(([org, service]) => service.serving().map((listener) => `${org} ${listener}`)),
    async close() {
      closed = true;
      clearInterval(timer);
      for (const service of services.values()) service.close();
      await looking?.catch(() => undefined);
    },
  };
}
