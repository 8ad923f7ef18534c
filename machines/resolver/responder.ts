import { ForwardError, type Forwarder } from "./forwarder.ts";
import { opcodeOf, parseQuery, type Query } from "./query.ts";
import { bareAnswer, flags, rcodes } from "./wire.ts";
import { apexOf, lookUp, type OwnNames, type Zone } from "./zone.ts";
import { zoneAnswer } from "./zone-answer.ts";

export type Transport = "udp" | "tcp";
export type Responder = {
  /** Undefined: nothing is sent. Never rejects: whatever cannot be answered is a failure of the server to whoever asks. */
  respond(bytes: Buffer, transport: Transport): Promise<Buffer | undefined>;
};

const classInternet = 1;
/** transfers of zones and such: they are streams, or nobody's business */
const refusedTypes: ReadonlySet<number> = new Set([249, 250, 251, 252]);
const plainPayloadBytes = 512;
/** two pages: beyond that, TCP */
const mostPayloadBytes = 4096;
const mostTcpBytes = 65_535;

export type ResponderOptions = {
  readonly own: OwnNames;
  readonly zone: () => Promise<Zone>;
  readonly forwarder: Forwarder;
};

/** Answers the questions of one org. */
export function createResponder({ own, zone, forwarder }: ResponderOptions): Responder {
  async function answer(query: Query, maxBytes: number): Promise<Buffer | undefined> {
    const bare = (rcode: number) => bareAnswer(query.bytes, query.questionEnd, flags.recursionAvailable | rcode);
    if (opcodeOf(query.bytes) !== 0) return bare(rcodes.notImplemented);
    if (query.class !== classInternet || refusedTypes.has(query.type)) return bare(rcodes.refused);
    try {
      const apex = apexOf(query.name, own);
      if (apex === undefined) return await forwarder.forward(query.bytes);
      return zoneAnswer(query, { apex, found: lookUp(await zone(), query.name) }, maxBytes);
    } catch (error) {
      // who is not answered asks again a while later; who is told of a failure does so at once
      return error instanceof ForwardError && error.code === "BUSY" ? undefined : bare(rcodes.serverFailure);
    }
  }

  return {
    async respond(bytes, transport) {
      const query = parseQuery(bytes);
      if (query === undefined) return undefined;
      const payloadBytes = Math.min(Math.max(query.edns?.payloadBytes ?? 0, plainPayloadBytes), mostPayloadBytes);
      const maxBytes = transport === "tcp" ? mostTcpBytes : payloadBytes;
      const found = await answer(query, maxBytes);
      if (found === undefined || found.length <= maxBytes) return found;
      return bareAnswer(found, query.questionEnd, (found.readUInt16BE(2) & ~flags.recursionDesired & 0x07ff) | flags.truncated);
    },
  };
}
