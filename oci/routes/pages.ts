import type { FastifyReply } from "fastify";
import { DistributionError } from "../errors.ts";
import type { Page } from "../store.ts";

/** bounds what one answer takes in memory; clients follow `Link` */
export const longestPage = 10_000;

/**
 * What `n` and `last` of a listing ask for, an `n` that is absent or larger than {@link longestPage} meaning that.
 * @throws DistributionError PAGE_INVALID for an `n` that is no number.
 */
export function parsePage(query: URLSearchParams): Page & { readonly limit: number } {
  const [n, last] = [query.get("n"), query.get("last")];
  if (n !== null && !/^\d{1,15}$/.test(n)) throw new DistributionError("PAGE_INVALID", { n: n.slice(0, 40), expected: "a number" });
  return { limit: Math.min(n === null ? longestPage : Number(n), longestPage), ...(last === null ? {} : { last }) };
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
