import type { OrgNetwork } from "../types.ts";
import { createForwarder, type Forwarder, type ForwarderOptions } from "./forwarder.ts";
import { createPace, type Pace } from "./pace.ts";
import { createResponder } from "./responder.ts";
import { openTcpListener } from "./tcp-listener.ts";
import { type Listener, openUdpListener } from "./udp-listener.ts";
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
  readonly onChange?: (change: { readonly org: string; readonly address: string; readonly state: "serving" | "failed" }) => void;
};

export type Resolver = {
  /** `org address` of each listener */
  serving(): readonly string[];
  close(): Promise<void>;
};

type OrgService = { readonly forwarder: Forwarder; readonly tcpPace: Pace; readonly listeners: Map<string, Listener> };

/** as many as over UDP, which the filter rules see to: what comes over TCP they cannot count */
const tcpPerSecond = 1000;

/** Answers the machines of each org on its own gateway addresses, over UDP and TCP, from when these are there on. Errors of one are not another's. */
export async function openResolver(options: ResolverOptions): Promise<Resolver> {
  const { networks, isUp, zone, own, port = 53, lookEveryMs = 250, onChange } = options;
  const services = new Map<string, OrgService>();
  let closed = false;

  async function look(): Promise<void> {
    for (const network of await networks()) {
      if (closed) return;
      if (isUp(network)) await serve(network);
    }
  }

  async function serve(network: OrgNetwork): Promise<void> {
    const { org } = network;
    const service = services.get(org) ?? {
      forwarder: createForwarder(options.forwarder),
      tcpPace: createPace(tcpPerSecond),
      listeners: new Map<string, Listener>(),
    };
    services.set(org, service);
    const { forwarder, tcpPace, listeners } = service;
    const responder = createResponder({ own, zone: () => zone(network), forwarder });
    const open = {
      udp: (address: string) => openUdpListener(address, port, responder),
      tcp: (address: string) => openTcpListener(address, port, { responder, pace: tcpPace }),
    } as const;
    for (const address of [network.gatewayIpv4, network.gatewayIpv6]) {
      for (const transport of ["udp", "tcp"] as const) {
        const key = `${transport} ${address}`;
        const earlier = listeners.get(key);
        if (earlier?.failed === false) continue;
        if (earlier !== undefined) onChange?.({ org, address: key, state: "failed" });
        listeners.delete(key);
        // the address comes after its bridge, and another process may have the port: at the next look again
        const listener = await open[transport](address).catch(() => undefined);
        if (listener === undefined) continue;
        if (closed) return listener.close();
        listeners.set(key, listener);
        onChange?.({ org, address: key, state: "serving" });
      }
    }
  }

  let looking = look();
  await looking;
  const timer = setInterval(() => {
    // a file that cannot be read now can be later
    looking = looking.then(look).catch(() => undefined);
  }, lookEveryMs);
  return {
    serving: () => [...services].flatMap(([org, { listeners }]) => [...listeners.keys()].map((key) => `${org} ${key}`)),
    async close() {
      closed = true;
      clearInterval(timer);
      for (const { forwarder, listeners } of services.values()) {
        forwarder.close();
        for (const listener of listeners.values()) listener.close();
      }
      await looking.catch(() => undefined);
    },
  };
}
