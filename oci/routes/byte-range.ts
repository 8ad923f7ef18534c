import { DistributionError } from "../errors.ts";
import type { ByteRange } from "../store.ts";

/** `bytes=-500` asks for the last 500 bytes; the size has to be known to make a {@link ByteRange} of it. */
export type RangeRequest = ByteRange | { readonly suffixBytes: number };

/**
 * A `Range` header (RFC 9110, 14.2); undefined, meaning the whole blob, when it is absent, of another form or names several ranges.
 * @throws DistributionError RANGE_INVALID when its end is before its begin.
 */
export function parseRangeHeader(header: string | undefined): RangeRequest | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? "");
  if (match === null) return undefined;
  const [first, last] = [match[1]!, match[2]!];
  if (first === "") return last === "" ? undefined : { suffixBytes: Number(last) };
  if (last === "") return { first: Number(first) };
  if (Number(last) < Number(first)) throw new DistributionError("RANGE_INVALID", { range: match[0], expected: "bytes=<first>-<last>" });
  return { first: Number(first), last: Number(last) };
}

/**
 * The `Content-Range` of a chunk, `<first>-<last>` (distribution-spec, "Pushing a blob in chunks"); undefined when absent.
 * @throws DistributionError RANGE_INVALID when malformed, SIZE_INVALID when it contradicts the Content-Length.
 */
export function parseChunkRange(header: string | undefined, contentLength: string | undefined): { readonly first: number } | undefined {
  if (header === undefined) return undefined;
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim());
  const [first, last] = match === null ? [1, 0] : [Number(match[1]), Number(match[2])];
  if (last < first) throw new DistributionError("RANGE_INVALID", { contentRange: header.slice(0, 80), expected: "<first>-<last>" });
  if (contentLength !== undefined && Number(contentLength) > 0 && Number(contentLength) !== last - first + 1) {
    throw new DistributionError("SIZE_INVALID", { contentRange: header, contentLength });
  }
  return { first };
}

/** The `Range` header that tells how much an upload session holds; an empty one says `0-0`, as its peers do. */
export function formatReceived(receivedBytes: number): string {
  return `0-${Math.max(receivedBytes - 1, 0)}`;
}
