import { type DecodedPacket, decode, encode, type RecordType } from "dns-packet";
import { orgNetwork } from "../../../../machines/network/address-plan.ts";

export const recursionDesired = 0x0100;
export const pools = { ipv4Pool: "10.87.0.0/16", ipv6Pool: "fd12:3456:789a::/48" };
export const acme = orgNetwork(pools, "0badc0de", "acme", 1);
export const rival = orgNetwork(pools, "0badc0de", "rival", 2);

export function question(name: string, type: RecordType = "A", options: { id?: number; payloadBytes?: number } = {}): Buffer {
  const { id = 4711, payloadBytes } = options;
  return encode({
    type: "query",
    id,
    flags: recursionDesired,
    questions: [{ type, name }],
    ...(payloadBytes === undefined
      ? {}
      : {
          additionals: [
            {
              type: "OPT",
              name: ".",
              udpPayloadSize: payloadBytes,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
        }),
  });
}

export type Read = DecodedPacket & { readonly rcode: string };

export const read = (message: Buffer | undefined): Read => {
  if (message === undefined) throw new Error("there is no answer");
  return decode(message) as Read;
};

/** What the records of an answer say, as text. */
export const dataOf = (message: Buffer | undefined): string[] =>
  (read(message).answers ?? []).map((record) => ("data" in record && typeof record.data === "string" ? record.data : record.type));
