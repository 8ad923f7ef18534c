import { type Answer, encode } from "dns-packet";
import { apiHostname } from "../../config/mirror-ports.ts";
import type { MachineAddresses } from "../network/address-plan.ts";
import type { Query } from "./query.ts";
import { bareAnswer, flags, rcodes } from "./wire.ts";
import { type Found, zoneName } from "./zone.ts";

/** Machines come and go with each release: nobody should remember them for longer. */
export const ttlSeconds = 2;
const types = { a: 1, soa: 6, aaaa: 28, any: 255 } as const;
/** over UDP without fragments (DNS flag day 2020) */
const ownPayloadBytes = 1232;
const mostAddresses = 32;

/**
 * The answer to a question about the org's own names. Addresses come in another order each time, and as many of them as `maxBytes` hold:
 * a client that takes no truncated answers has some of them at least.
 */
export function zoneAnswer(query: Query, { apex, found }: { readonly apex: string; readonly found: Found }, maxBytes: number): Buffer {
  if (query.edns !== undefined && query.edns.version > 0) return assemble(query, flags.authoritative, [[], [], [opt(1)]]);
  const additionals = query.edns === undefined ? [] : [opt(0)];
  if (found === "missing") return assemble(query, flags.authoritative | rcodes.noSuchName, [[], [soa(apex)], additionals]);
  const records = [...addressRecords(query, shuffled(found)), ...(query.type === types.soa && query.name === apex ? [soa(apex)] : [])];
  if (records.length === 0) return assemble(query, flags.authoritative, [[], [soa(apex)], additionals]);
  for (let count = Math.min(records.length, mostAddresses); ; count--) {
    const answer = assemble(query, flags.authoritative, [records.slice(0, count), [], additionals]);
    if (answer.length <= maxBytes || count === 1) return answer;
  }
}

function addressRecords({ nameAsAsked, type }: Query, found: readonly MachineAddresses[]): Answer[] {
  const record = (kind: "A" | "AAAA", data: string): Answer => ({ type: kind, name: nameAsAsked, ttl: ttlSeconds, data });
  return found.flatMap(({ ipv4, ipv6 }) => [
    ...(type === types.a || type === types.any ? [record("A", ipv4)] : []),
    ...(type === types.aaaa || type === types.any ? [record("AAAA", ipv6)] : []),
  ]);
}

/** Its last number is how long a client may remember that there is nothing (RFC 2308). */
function soa(apex: string): Answer {
  const data = {
    mname: apiHostname,
    rname: `hostmaster.${zoneName}`,
    serial: 1,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: ttlSeconds,
  };
  return { type: "SOA", name: apex, ttl: ttlSeconds, data };
}

function opt(extendedRcode: number): Answer {
  return { type: "OPT", name: ".", udpPayloadSize: ownPayloadBytes, extendedRcode, ednsVersion: 0, flags: 0, flag_do: false, options: [] };
}

type Sections = readonly [answers: Answer[], authorities: Answer[], additionals: Answer[]];

/** The question is repeated byte by byte. */
function assemble(query: Query, set: number, [answers, authorities, additionals]: Sections): Buffer {
  const head = bareAnswer(query.bytes, query.questionEnd, set | flags.recursionAvailable);
  const sections = encode({ type: "response", answers, authorities, additionals });
  sections.copy(head, 6, 6, 12);
  return Buffer.concat([head, sections.subarray(12)]);
}

function shuffled<T>(items: readonly T[]): T[] {
  const left = [...items];
  return items.map(() => left.splice(Math.floor(Math.random() * left.length), 1)[0]!);
}
