import { createTurns } from "../../config/turns.ts";
import type { OrgNetwork } from "../types.ts";
import { createForwarder, type ForwarderOptions } from "./forwarder.ts";
import { createResponder } from "./responder.ts";
import { openTcpListener } from "./tcp-listener.ts";
import { type Listener, openUdpListener } from "./udp-listener.ts";
import type { OwnNames, Zone } from "./zone.ts";

/** `blocked`: it cannot be bound, mostly as another DNS server of the host has port 53 of all addresses. */
export type ListenerChange = { readonly listener: string; readonly state: "serving" | "failed" | "blocked"; readonly error?: string };

export type OrgServiceOptions = {
  readonly zone: () => Promise<Zone>;
  readonly own: OwnNames;
  readonly forwarder: ForwarderOptions;
  readonly port: number;
  readonly onChange: (change: ListenerChange) => void;
};

/** What answers one org. */
export type OrgService = {
  /** Opens what is not open, on both gateway addresses, over UDP and TCP. Whatever cannot be opened now is left for the next call. */
  open(): Promise<void>;
  serving(): readonly string[];
  close(): void;
};

/** as many as over UDP, which the filter rules see to: what comes over TCP they cannot count */
const tcpPerSecond = 1000;

export function createOrgService({ gatewayIpv4, gatewayIpv6 }: OrgNetwork, options: OrgServiceOptions): OrgService {
  const { zone, own, port, onChange } = options;
  const forwarder = createForwarder(options.forwarder);
  const responder = createResponder({ own, zone, forwarder });
  const turns = createTurns(tcpPerSecond);
  const openers = new Map<string, () => Promise<Listener>>();
  for (const address of [gatewayIpv4, gatewayIpv6]) {
    openers.set(`udp ${address}`, () => openUdpListener(address, port, responder));
    openers.set(`tcp ${address}`, () => openTcpListener(address, port, { responder, turns }));
  }
  const listeners = new Map<string, Listener>();
  const blocked = new Map<string, string>();
  let closed = false;

  async function openOne(name: string, opener: () => Promise<Listener>): Promise<void> {
    const earlier = listeners.get(name);
    if (earlier?.failed === false) return;
    if (earlier !== undefined) onChange({ listener: name, state: "failed" });
    listeners.delete(name);
    try {
      const listener = await opener();
      if (closed) return listener.close();
      listeners.set(name, listener);
      blocked.delete(name);
      onChange({ listener: name, state: "serving" });
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      // an address comes a moment after its bridge
      if (code === "EADDRNOTAVAIL" || blocked.get(name) === message) return;
      blocked.set(name, message);
      onChange({ listener: name, state: "blocked", error: message });
    }
  }

  return {
    open: async () => void (await Promise.all([...openers].map(([name, opener]) => openOne(name, opener)))),
    serving: () => [...listeners.keys()],
    close() {
      closed = true;
      forwarder.close();
      for (const listener of listeners.values()) listener.close();
    },
  };
}
