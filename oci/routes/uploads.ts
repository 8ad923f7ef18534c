import type { FastifyReply } from "fastify";
import { type Digest, type DigestAlgorithm, digestAlgorithm, isDigest, isDigestAlgorithm } from "../digest.ts";
import { DistributionError } from "../errors.ts";
import { type Repository, isRepository } from "../repository.ts";
import type { UploadStatus } from "../store.ts";
import { formatReceived, parseChunkRange } from "./byte-range.ts";
import { type DistributionCall, type EndpointOf, header } from "./distribution-call.ts";
import type { OpenBody } from "./open-body.ts";
import { announcesBody } from "./request-body.ts";

const startTimeoutMs = 30_000;

type UploadCall<K extends "uploadStatus" | "appendUpload" | "finishUpload" | "abortUpload"> = DistributionCall<EndpointOf<K>>;

/** end-4a, end-4b, end-4c and end-11: a session, a whole blob in one request, or a mount from another repository. */
export async function startUpload(call: DistributionCall<EndpointOf<"startUpload">>, openBody: OpenBody): Promise<void> {
  const { endpoint, query, store, reply, signal } = call;
  const algorithm = parseAlgorithmQuery(query.get("digest-algorithm"));
  const mounted = await tryMount(call);
  if (mounted !== undefined) return sendCreated(reply, endpoint.repository, mounted);
  if (query.get("digest") !== null) return pushWhole(call, openBody);
  await sendProgress(reply.code(202), endpoint.repository, await store.uploads.start(endpoint.repository, signal, algorithm));
}

/** end-13: how far a session has come. */
export async function uploadStatus({ endpoint, store, reply, signal }: UploadCall<"uploadStatus">): Promise<void> {
  const status = await store.uploads.status(endpoint.repository, endpoint.id, signal);
  await sendProgress(reply.code(204), endpoint.repository, status);
}

/** end-5: one chunk, or the whole blob as a stream of unknown length. */
export async function appendUpload(
  { endpoint, store, request, reply, signal }: UploadCall<"appendUpload">,
  openBody: OpenBody,
): Promise<void> {
  const chunk = parseChunkRange(header(request, "content-range"), header(request, "content-length"));
  const status = await store.uploads.append(endpoint.repository, endpoint.id, chunk?.first, openBody(), signal);
  await sendProgress(reply.code(202), endpoint.repository, status);
}

/** end-6: the last chunk, if the request has a body, and the proof of the digest. */
export async function finishUpload(call: UploadCall<"finishUpload">, openBody: OpenBody): Promise<void> {
  const { endpoint, query, store, request, reply, signal } = call;
  const { repository, id } = endpoint;
  const digest = parseDigestQuery(query.get("digest"));
  if (announcesBody(request.raw)) {
    const chunk = parseChunkRange(header(request, "content-range"), header(request, "content-length"));
    await store.uploads.append(repository, id, chunk?.first, openBody(), signal);
  }
  const descriptor = await store.uploads.finish(repository, id, digest, signal);
  await sendCreated(reply, repository, descriptor.digest);
}

/** end-14. */
export async function abortUpload({ endpoint, store, reply, signal }: UploadCall<"abortUpload">): Promise<void> {
  await store.uploads.abort(endpoint.repository, endpoint.id, signal);
  await reply.code(204).send();
}

async function tryMount({ endpoint, query, store, signal }: DistributionCall<EndpointOf<"startUpload">>): Promise<Digest | undefined> {
  const [mount, from] = [query.get("mount"), query.get("from")];
  if (mount === null) return undefined;
  const digest = parseDigestQuery(mount);
  if (from === null || !isRepository(from)) return undefined;
  return (await store.blobs.mount(endpoint.repository, digest, from, signal))?.digest;
}

async function pushWhole({ endpoint, query, store, reply, signal }: DistributionCall<EndpointOf<"startUpload">>, openBody: OpenBody) {
  const { repository } = endpoint;
  const digest = parseDigestQuery(query.get("digest"));
  // a start that is cut off may have happened all the same, and leave an upload whose id nobody knows
  const { id } = await store.uploads.start(repository, AbortSignal.timeout(startTimeoutMs), digestAlgorithm(digest));
  try {
    await store.uploads.append(repository, id, 0, openBody(), signal);
    const descriptor = await store.uploads.finish(repository, id, digest, signal);
    await sendCreated(reply, repository, descriptor.digest);
  } catch (error) {
    // the client never learnt the id, so nobody can resume it; its own signal may be aborted by now
    await store.uploads.abort(repository, id, AbortSignal.timeout(10_000)).catch(() => {});
    throw error;
  }
}

function parseDigestQuery(text: string | null): Digest {
  if (text !== null && isDigest(text)) return text;
  throw new DistributionError("DIGEST_INVALID", { digest: text?.slice(0, 160) ?? "", expected: "?digest=<algorithm>:<hex>" });
}

function parseAlgorithmQuery(text: string | null): DigestAlgorithm | undefined {
  if (text === null || isDigestAlgorithm(text)) return text ?? undefined;
  throw new DistributionError("DIGEST_INVALID", { algorithm: text.slice(0, 40), expected: "sha256 or sha512" });
}

async function sendProgress(reply: FastifyReply, repository: Repository, { id, receivedBytes }: UploadStatus): Promise<void> {
  await reply
    .header("location", `/v2/${repository}/blobs/uploads/${id}`)
    .header("range", formatReceived(receivedBytes))
    .header("docker-upload-uuid", id)
    .send();
}

async function sendCreated(reply: FastifyReply, repository: Repository, digest: Digest): Promise<void> {
  await reply.code(201).header("location", `/v2/${repository}/blobs/${digest}`).header("docker-content-digest", digest).send();
}
