import { isIPv6 } from "node:net";

export type FailedLogins = {
  /** Milliseconds until this client is heard again; 0 when it may try now. */
  waitMs(address: string, nowMs: number): number;
  count(address: string, nowMs: number): void;
};

type Window = { failures: number; readonly endsAtMs: number };

/** Counts wrong passwords per client address in windows of a minute, in bounded memory. An IPv6 client counts by its /64. */
export function createFailedLogins({ most = 20, windowMs = 60_000, mostClients = 10_000 } = {}): FailedLogins {
  const windows = new Map<string, Window>();
  const current = (client: string, nowMs: number): Window | undefined => {
    const found = windows.get(client);
    if (found === undefined || found.endsAtMs > nowMs) return found;
    windows.delete(client);
    return undefined;
  };
  return {
    waitMs: (address, nowMs) => {
      const window = current(clientOf(address), nowMs);
      return window === undefined || window.failures < most ? 0 : window.endsAtMs - nowMs;
    },
    count: (address, nowMs) => {
      const client = clientOf(address);
      const window = current(client, nowMs);
      if (window !== undefined) return void (window.failures += 1);
      // the oldest window goes first: it is the one that ends first
      if (windows.size >= mostClients) windows.delete(windows.keys().next().value!);
      windows.set(client, { failures: 1, endsAtMs: nowMs + windowMs });
    },
  };
}

function clientOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, "");
  if (!isIPv6(plain)) return plain;
  const [head = "", tail] = plain.replace(/%.*$/, "").split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...before, ...Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => "0"), ...after];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
