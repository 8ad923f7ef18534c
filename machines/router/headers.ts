import type { IncomingMessage } from "node:http";

/** RFC 9110, 7.6.1: these are between two neighbours. `expect` has been answered here. */
const hopByHop = new Set([
  "connection",
  "expect",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** A client's own words about where it comes from are not believed. */
const ours = new Set(["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]);

type RawHeaders = readonly string[];

/** Headers for the target: order, case and duplicates as the client sent them. */
export function requestHeaders(request: IncomingMessage): string[] {
  const headers = [...endToEnd(request.rawHeaders, ours), ...forwarded(request)];
  // a body of unknown length goes on as one
  if (request.headers["transfer-encoding"] !== undefined) headers.push("transfer-encoding", "chunked");
  return headers;
}

/** The same for a connection that is about to speak another protocol: `upgrade` must arrive. */
export function upgradeHeaders(request: IncomingMessage): string[] {
  const upgrade = request.headers.upgrade ?? "";
  return [...endToEnd(request.rawHeaders, ours), ...forwarded(request), "connection", "upgrade", "upgrade", upgrade];
}

export function responseHeaders(response: IncomingMessage): string[] {
  return endToEnd(response.rawHeaders, new Set());
}

function endToEnd(raw: RawHeaders, dropped: ReadonlySet<string>): string[] {
  const named = new Set<string>();
  for (const [name, value] of pairs(raw)) {
    if (name.toLowerCase() === "connection") for (const token of value.split(",")) named.add(token.trim().toLowerCase());
  }
  return pairs(raw)
    .filter(([name]) => {
      const lower = name.toLowerCase();
      return !hopByHop.has(lower) && !named.has(lower) && !dropped.has(lower);
    })
    .flat();
}

function forwarded(request: IncomingMessage): string[] {
  const from = request.socket.remoteAddress?.replace(/^::ffff:/, "") ?? "unknown";
  const host = request.headers.host;
  return ["x-forwarded-for", from, "x-forwarded-proto", "http", ...(host === undefined ? [] : ["x-forwarded-host", host])];
}

function pairs(raw: RawHeaders): readonly (readonly [string, string])[] {
  const found: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) found.push([raw[at]!, raw[at + 1]!]);
  return found;
}
