import type { FastifyReply } from "fastify";
import { DistributionError } from "../errors.ts";
import type { Page } from "../store.ts";

/** What `n` and `last` of a listing ask for. @throws DistributionError PAGE_INVALID for an `n` that is no number. */
export function parsePage(query: URLSearchParams): Page {
  const [n, last] = [query.get("n"), query.get("last")];
  if (n !== null && !/^\d{1,9}$/.test(n)) throw new DistributionError("PAGE_INVALID", { n: n.slice(0, 40), expected: "a number" });
  return { ...(n === null ? {} : { limit: Number(n) }), ...(last === null ? {} : { last }) };
}

/** Says where a listing goes on (RFC 8288), with whatever else the request asked for. */
export function announceNextPage(
  reply: FastifyReply,
  path: string,
  { limit, last }: Page,
  more: Readonly<Record<string, string | undefined>> = {},
): void {
  const query = Object.entries({ n: limit, last, ...more }).filter(([, value]) => value !== undefined);
  const text = query.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&");
  reply.header("link", `<${path}?${text}>; rel="next"`);
}
