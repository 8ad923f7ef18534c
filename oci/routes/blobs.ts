import { DistributionError } from "../errors.ts";
import type { BlobStore, ByteRange } from "../store.ts";
import { type RangeRequest, parseRangeHeader } from "./byte-range.ts";
import { allowsRange, isKnownToClient } from "./conditions.ts";
import { type DistributionCall, type EndpointOf, header } from "./distribution-call.ts";
import { sendBody } from "./send-body.ts";

type BlobCall = DistributionCall<EndpointOf<"readBlob"> | EndpointOf<"statBlob">>;

/** end-2, HEAD. */
export async function statBlob({ endpoint, store, request, reply, signal }: BlobCall): Promise<void> {
  const descriptor = await store.blobs.stat(endpoint.repository, endpoint.digest, signal);
  if (descriptor === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest: endpoint.digest });
  const known = isKnownToClient(request, endpoint.digest);
  describe(reply, endpoint.digest);
  if (known) await reply.code(304).send();
  else await reply.header("content-length", descriptor.size).code(200).send();
}

/** end-2, GET: whole, or one range of it. */
export async function readBlob({ endpoint, store, request, reply, signal }: BlobCall): Promise<void> {
  const { repository, digest } = endpoint;
  if (isKnownToClient(request, digest)) {
    if ((await store.blobs.stat(repository, digest, signal)) === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
    describe(reply, digest);
    await reply.code(304).send();
    return;
  }
  const asked = allowsRange(request, digest) ? parseRangeHeader(header(request, "range")) : undefined;
  const range = asked === undefined ? undefined : await toByteRange(asked, store.blobs, endpoint, signal);
  const content = await store.blobs.read(repository, digest, range, signal);
  describe(reply, digest);
  if (content.range === undefined) {
    reply.code(200).header("content-length", content.sizeBytes);
  } else {
    const { first, last } = content.range;
    reply
      .code(206)
      .header("content-range", `bytes ${first}-${last}/${content.sizeBytes}`)
      .header("content-length", last - first + 1);
  }
  await sendBody(reply, content.body);
}

async function toByteRange(
  asked: RangeRequest,
  blobs: BlobStore,
  { repository, digest }: BlobCall["endpoint"],
  signal: AbortSignal,
): Promise<ByteRange> {
  if (!("suffixBytes" in asked)) return asked;
  const descriptor = await blobs.stat(repository, digest, signal);
  if (descriptor === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
  if (asked.suffixBytes === 0 || descriptor.size === 0) throw new DistributionError("RANGE_INVALID", { sizeBytes: descriptor.size });
  return { first: Math.max(descriptor.size - asked.suffixBytes, 0) };
}

function describe(reply: BlobCall["reply"], digest: string): void {
  reply
    .header("docker-content-digest", digest)
    .header("etag", `"${digest}"`)
    .header("accept-ranges", "bytes")
    .header("content-type", "application/octet-stream")
    .header("cache-control", "max-age=31536000, immutable");
}
