import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import type { Digest } from "../oci/digest.ts";
import { type ContainerdNamespace, isAlreadyExists, orUndefined } from "./client.ts";
import { keepExisting } from "./content-lease.ts";
import { openContentWriter } from "./content-writer.ts";
import type { Labels } from "./labels.ts";

export { keepExisting, removeLabels, setLabels } from "./content-lease.ts";
export { ContentMismatchError, UnsupportedDigestError } from "./content-errors.ts";
export { type ContentWriter, type ContentWriterOptions, openContentWriter } from "./content-writer.ts";

export type BlobStat = { readonly digest: Digest; readonly sizeBytes: number; readonly labels: Labels };

/** Undefined when the namespace does not have it. */
export async function statBlob(ns: ContainerdNamespace, digest: Digest, signal: AbortSignal): Promise<BlobStat | undefined> {
  const response = await orUndefined(ns.content.info({ digest }, { signal }));
  if (response?.info === undefined) return undefined;
  return { digest, sizeBytes: Number(response.info.size), labels: response.info.labels };
}

/**
 * Stores a blob whose digest and size are known, under the view's lease; one that is there already is a success. Whatever fails,
 * no ingest stays. @throws ContentMismatchError when the bytes are not what the descriptor says.
 */
export async function writeBlob(
  ns: ContainerdNamespace,
  source: Uint8Array | AsyncIterable<Uint8Array>,
  descriptor: { readonly digest: Digest; readonly size: number },
  labels: Labels,
  signal: AbortSignal,
): Promise<void> {
  const { digest, size } = descriptor;
  const ref = `write-${randomUUID()}`;
  await using writer = openContentWriter(ns, { ref, expected: digest, totalBytes: size }, signal);
  try {
    for await (const chunk of source instanceof Uint8Array ? [source] : source) await writer.write(chunk);
    await writer.commit({ digest, sizeBytes: size, labels });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    await keepExisting(ns, digest, labels, signal);
  }
}

/**
 * Reads a blob or an inclusive range of it; a slow reader slows containerd. Hold a lease while reading.
 * The stream fails with ClientError NOT_FOUND when the blob is absent: `statBlob` first where that matters.
 */
export function readBlob(ns: ContainerdNamespace, digest: Digest, range: BlobRange | undefined, signal: AbortSignal): Readable {
  const [offset, size] = spanOf(range);
  const stopped = new AbortController();
  const messages = ns.content.read({ digest, offset, size }, { signal: AbortSignal.any([signal, stopped.signal]) });
  return bodyOf(messages[Symbol.asyncIterator](), undefined, stopped);
}

/**
 * Like `readBlob`, but resolves with the first bytes at hand: from then on the blob can be read to its end, whatever the collector does.
 * @throws ClientError NOT_FOUND when the blob is absent.
 */
export async function openBlob(
  ns: ContainerdNamespace,
  digest: Digest,
  range: BlobRange | undefined,
  signal: AbortSignal,
): Promise<Readable> {
  const [offset, size] = spanOf(range);
  const stopped = new AbortController();
  const messages = ns.content.read({ digest, offset, size }, { signal: AbortSignal.any([signal, stopped.signal]) });
  const rest = messages[Symbol.asyncIterator]();
  return bodyOf(rest, await rest.next(), stopped);
}

type BlobRange = { readonly first: number; readonly last: number };
type BlobPart = { readonly data: Uint8Array };

const spanOf = (range: BlobRange | undefined): readonly [offset: bigint, size: bigint] => [
  BigInt(range?.first ?? 0),
  range === undefined ? 0n : BigInt(range.last - range.first + 1),
];

function bodyOf(messages: AsyncIterator<BlobPart>, first: IteratorResult<BlobPart> | undefined, stopped: AbortController): Readable {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      for (let next = first ?? (await messages.next()); next.done !== true; next = await messages.next()) yield next.value.data;
    } finally {
      stopped.abort();
    }
  }
  const stream = Readable.from(chunks(), { objectMode: false, highWaterMark: 1024 * 1024 });
  stream.once("close", () => stopped.abort());
  return stream;
}

/** Reads a small blob whole. @throws RangeError above the limit, ClientError NOT_FOUND when absent. */
export async function readBlobBytes(
  ns: ContainerdNamespace,
  digest: Digest,
  options: { readonly limitBytes: number },
  signal: AbortSignal,
): Promise<Buffer> {
  const { info } = await ns.content.info({ digest }, { signal });
  const sizeBytes = Number(info?.size ?? 0);
  if (sizeBytes > options.limitBytes) {
    throw new RangeError(`Cannot read blob "${digest}" whole: found ${sizeBytes} bytes, expected at most ${options.limitBytes}`);
  }
  const parts: Uint8Array[] = [];
  for await (const { data } of ns.content.read({ digest }, { signal })) parts.push(data);
  return Buffer.concat(parts);
}

/** Blobs of the namespace that match any of the filters (e.g. `labels."slipway.repo.x"==name`). */
export async function* listBlobs(ns: ContainerdNamespace, filters: readonly string[], signal: AbortSignal): AsyncGenerator<BlobStat> {
  for await (const { info } of ns.content.list({ filters: [...filters] }, { signal })) {
    for (const { digest, size, labels } of info) yield { digest: digest as Digest, sizeBytes: Number(size), labels };
  }
}
