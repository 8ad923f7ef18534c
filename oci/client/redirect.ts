import { BlockList, isIP } from "node:net";
import { upstreamFault } from "./upstream-error.ts";

const statuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export const longestRedirectChain = 5;

const inwards = new BlockList();
for (const [net, prefix] of [
  ["127.0.0.0", 8],
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["169.254.0.0", 16],
  ["100.64.0.0", 10],
  ["0.0.0.0", 8],
] as const) {
  inwards.addSubnet(net, prefix, "ipv4");
}
for (const [net, prefix] of [
  ["::1", 128],
  ["::", 128],
  ["fc00::", 7],
  ["fe80::", 10],
] as const)
  inwards.addSubnet(net, prefix, "ipv6");

/**
 * Where an answer sends us, if anywhere.
 * @throws UpstreamError REDIRECT_REFUSED for a step down to plain HTTP or inwards (a loopback, private or link-local address) from
 * another host: a registry must not make us ask our own network, but for the `known` hosts of its own storage.
 */
export function redirectTarget(from: URL, status: number, location: string | undefined, known: readonly string[] = []): URL | undefined {
  if (!statuses.has(status) || location === undefined) return undefined;
  const target = parse(location, from);
  const refuse = (why: string) => upstreamFault("REDIRECT_REFUSED", from, `Cannot follow the redirect of ${from.host}: ${why}`);
  if (target === undefined || !["http:", "https:"].includes(target.protocol)) throw refuse("its Location is no HTTP address");
  if (from.protocol === "https:" && target.protocol === "http:") throw refuse("it leads from HTTPS to HTTP");
  if (target.hostname !== from.hostname && isInwards(target.hostname) && !known.includes(target.host))
    throw refuse(`it leads inwards, to ${target.host}`);
  return target;
}

function parse(location: string, base: URL): URL | undefined {
  return URL.canParse(location, base.href) ? new URL(location, base) : undefined;
}

function isInwards(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, "");
  const family = isIP(address);
  if (family === 0) return address === "localhost" || address.endsWith(".localhost") || address.endsWith(".internal");
  return inwards.check(address, family === 4 ? "ipv4" : "ipv6");
}
