import { decode } from "dns-packet";
import { questionEnd } from "./wire.ts";

/** A question of a machine, beside the bytes it came in. */
export type Query = {
  readonly bytes: Buffer;
  /** where the question section ends */
  readonly questionEnd: number;
  /** in lower case, without the last dot */
  readonly name: string;
  /** as the machine wrote it: an answer repeats it */
  readonly nameAsAsked: string;
  /** the number of the record type */
  readonly type: number;
  readonly class: number;
  /** what the machine takes over UDP, and the version of EDNS it speaks; absent: it does not speak EDNS */
  readonly edns?: { readonly payloadBytes: number; readonly version: number };
};

/** What a query may have: names and options that are longer are nobody's. */
export const maxQueryBytes = 4096;

/** Undefined for whatever is no query with one question: it is not answered. */
export function parseQuery(bytes: Buffer): Query | undefined {
  if (bytes.length < 12 || bytes.length > maxQueryBytes) return undefined;
  const isResponse = (bytes.readUInt8(2) & 0x80) !== 0;
  const end = questionEnd(bytes);
  if (isResponse || end === undefined || bytes.readUInt16BE(4) !== 1) return undefined;
  try {
    const { questions = [], additionals = [] } = decode(bytes);
    const nameAsAsked = questions[0]!.name;
    const opt = additionals.find((record) => record.type === "OPT");
    return {
      bytes,
      questionEnd: end,
      name: nameAsAsked.toLowerCase(),
      nameAsAsked,
      type: bytes.readUInt16BE(end - 4),
      class: bytes.readUInt16BE(end - 2),
      ...(opt === undefined ? {} : { edns: { payloadBytes: opt.udpPayloadSize, version: opt.ednsVersion } }),
    };
  } catch {
    return undefined;
  }
}

export const opcodeOf = (bytes: Buffer): number => (bytes.readUInt8(2) >> 3) & 0xf;
