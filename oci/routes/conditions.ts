import type { FastifyRequest } from "fastify";
import { DistributionError } from "../errors.ts";
import { header } from "./distribution-call.ts";

/**
 * Whether the client has this entity already, so that 304 says it all (RFC 9110, 13.1.2). Our entity tags are digests, and strong.
 * @throws DistributionError PRECONDITION_FAILED when `If-Match` asks for another one (13.1.1).
 */
export function isKnownToClient(request: FastifyRequest, digest: string): boolean {
  const [match, noneMatch] = [header(request, "if-match"), header(request, "if-none-match")];
  if (match !== undefined && !listsEntityTag(match, digest, "strong")) {
    throw new DistributionError("PRECONDITION_FAILED", { ifMatch: match.slice(0, 160), found: digest });
  }
  return noneMatch !== undefined && listsEntityTag(noneMatch, digest, "weak");
}

/**
 * What `If-Match` and `If-None-Match` of a push say about the tag it moves, undefined being one that is free: with `If-None-Match: *` a
 * tag is never written over, with `If-Match: "<digest>"` only what the client has seen is replaced.
 */
export function replacementRule(request: FastifyRequest): ((current: string | undefined) => boolean) | undefined {
  const [match, noneMatch] = [header(request, "if-match"), header(request, "if-none-match")];
  if (match === undefined && noneMatch === undefined) return undefined;
  return (current) => {
    if (match !== undefined && (current === undefined || !listsEntityTag(match, current, "strong"))) return false;
    return noneMatch === undefined || current === undefined || !listsEntityTag(noneMatch, current, "weak");
  };
}

/** Whether a range may be served: without `If-Range`, or when it names this entity (RFC 9110, 13.1.5). */
export function allowsRange(request: FastifyRequest, digest: string): boolean {
  const ifRange = header(request, "if-range");
  return ifRange === undefined || ifRange.trim() === `"${digest}"`;
}

/** Some clients leave out the quotes, and no digest has a comma. */
function listsEntityTag(list: string, digest: string, comparison: "strong" | "weak"): boolean {
  return list.split(",").some((text) => {
    const tag = text.trim();
    if (tag === "*") return true;
    if (tag.startsWith("W/")) return comparison === "weak" && tag.slice(2).replaceAll('"', "") === digest;
    return tag.replaceAll('"', "") === digest;
  });
}
