import type { Readable } from "node:stream";
import { discard, readWhole, refusal } from "./client/answer.ts";
import { sendAuthorized } from "./client/authorized-exchange.ts";
import { type BearerTokens, type Credentials, createBearerTokens } from "./client/bearer-tokens.ts";
import { type HttpAnswer, createHttpExchange } from "./client/http-exchange.ts";
import { readTags } from "./client/list-tags.ts";
import { type BlobSource, type SendPush, mountBlob, pushBlob } from "./client/push-blob.ts";
import { upstreamFault } from "./client/upstream-error.ts";
import type { Descriptor } from "./descriptor.ts";
import { type Digest, digestAlgorithm, digestOf, isDigest } from "./digest.ts";
import { manifestLimitBytes } from "./manifest.ts";
import { acceptManifests } from "./media-types.ts";
import { type ManifestReference, formatManifestReference } from "./reference.ts";
import type { Repository, Tag } from "./repository.ts";
import type { BlobContent, ByteRange, ManifestContent } from "./store.ts";

export { UpstreamError } from "./client/upstream-error.ts";
export type { BlobSource, UploadMemory } from "./client/push-blob.ts";

export type DistributionClientOptions = {
  /** `https://registry-1.docker.io`: scheme and host of a registry or a mirror */
  readonly baseUrl: string;
  /** asks a mirror on behalf of this registry host (`?ns=`) */
  readonly ns?: string;
  /** hosts that may be asked for an anonymous token, beside the registry's own: `auth.docker.io` */
  readonly authRealmHosts?: readonly string[];
  /** for the token service of the registry itself; no other host ever sees them */
  readonly credentials?: Credentials;
  /** absent: the registry is asked for tokens when it wants them. A purpose is `pull <repository>`, `push <repository>` or `ping` */
  readonly tokens?: BearerTokens;
  /** hosts of the registry's own storage, to which it may redirect though they are inside our network */
  readonly redirectHosts?: readonly string[];
  readonly userAgent?: string;
  /** PEM of the certificates to trust instead of Node's own */
  readonly ca?: string;
  readonly connectTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
};

/** Speaks to one registry. Everything rejects with {@link UpstreamError}, or with the signal's reason. Undefined: the registry has it not. */
export interface DistributionClient extends Disposable {
  readonly baseUrl: string;
  ping(signal: AbortSignal): Promise<void>;
  statBlob(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Descriptor | undefined>;
  /** The body is not verified here: whoever stores it hashes it. It is the whole blob when the registry ignores ranges. */
  readBlob(repository: Repository, digest: Digest, range: ByteRange | undefined, signal: AbortSignal): Promise<BlobContent | undefined>;
  pushBlob(repository: Repository, source: BlobSource, signal: AbortSignal): Promise<void>;
  mountBlob(repository: Repository, digest: Digest, from: Repository, signal: AbortSignal): Promise<boolean>;
  resolveManifest(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<Descriptor | undefined>;
  readManifest(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<ManifestContent | undefined>;
  pushManifest(
    repository: Repository,
    reference: ManifestReference,
    mediaType: string,
    bytes: Uint8Array,
    signal: AbortSignal,
  ): Promise<Descriptor>;
  listTags(repository: Repository, signal: AbortSignal): Promise<readonly Tag[] | undefined>;
}

type Request = { method: string; url: URL; headers?: Record<string, string | number>; body?: Uint8Array | Readable };

export function createDistributionClient(options: DistributionClientOptions): DistributionClient {
  const registry = new URL(options.baseUrl);
  const redirectHosts = options.redirectHosts ?? [];
  const userAgent = options.userAgent ?? "slipway";
  const timeouts = { connectTimeoutMs: options.connectTimeoutMs ?? 10_000, idleTimeoutMs: options.idleTimeoutMs ?? 60_000 };
  const exchange = createHttpExchange(timeouts, options.ca);
  const tokens =
    options.tokens ??
    createBearerTokens({
      exchange,
      registry,
      realmHosts: options.authRealmHosts ?? [],
      userAgent,
      ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    });

  const send = (purpose: string, request: Request, signal: AbortSignal): Promise<HttpAnswer> => {
    const headers = { "user-agent": userAgent, "accept-encoding": "identity", ...request.headers };
    return sendAuthorized({ exchange, tokens, registry, redirectHosts }, { ...request, headers, purpose }, signal);
  };
  const pull = (repository: Repository, method: "GET" | "HEAD", path: string, headers: Record<string, string>, signal: AbortSignal) => {
    const url = new URL(`/v2/${repository}/${path}`, registry);
    if (options.ns !== undefined) url.searchParams.set("ns", options.ns);
    return send(`pull ${repository}`, { method, url, headers }, signal);
  };
  const push =
    (repository: Repository): SendPush =>
    (request, signal) =>
      send(`push ${repository}`, request, signal);
  const uploadsOf = (repository: Repository) => new URL(`/v2/${repository}/blobs/uploads/`, registry);
  const readManifest: DistributionClient["readManifest"] = async (repository, reference, signal) => {
    const answer = await pull(repository, "GET", manifestPath(reference), { accept: acceptManifests }, signal);
    if (await isAbsent(answer)) return undefined;
    return verifiedManifest(answer, reference);
  };

  return {
    baseUrl: registry.origin,
    ping: async (signal) => {
      const answer = await send("ping", { method: "GET", url: new URL("/v2/", registry) }, signal);
      if (answer.status !== 200) throw await refusal(answer);
      await discard(answer);
    },
    statBlob: async (repository, digest, signal) => {
      const answer = await pull(repository, "HEAD", `blobs/${digest}`, {}, signal);
      if (await isAbsent(answer)) return undefined;
      const size = sizeOf(answer);
      await discard(answer);
      return { mediaType: "application/octet-stream", digest, size };
    },
    readBlob: async (repository, digest, range, signal) => {
      const headers: Record<string, string> = range === undefined ? {} : { range: `bytes=${range.first}-${range.last ?? ""}` };
      const answer = await pull(repository, "GET", `blobs/${digest}`, headers, signal);
      if (await isAbsent(answer)) return undefined;
      return blobContent(answer);
    },
    pushBlob: (repository, source, signal) => pushBlob(push(repository), uploadsOf(repository), source, signal),
    mountBlob: (repository, digest, from, signal) => mountBlob(push(repository), uploadsOf(repository), digest, from, signal),
    resolveManifest: async (repository, reference, signal) => {
      const answer = await pull(repository, "HEAD", manifestPath(reference), { accept: acceptManifests }, signal);
      if (await isAbsent(answer)) return undefined;
      await discard(answer);
      const digest = reference.kind === "digest" ? reference.digest : announcedDigest(answer);
      const mediaType = mediaTypeOf(answer);
      // not every registry tells a digest, a size and a type in answer to HEAD; the bytes themselves always do
      if (digest === undefined || mediaType === undefined || answer.headers["content-length"] === undefined) {
        return (await readManifest(repository, reference, signal))?.descriptor;
      }
      return { mediaType, digest, size: sizeOf(answer) };
    },
    readManifest,
    pushManifest: async (repository, reference, mediaType, bytes, signal) => {
      const url = new URL(`/v2/${repository}/${manifestPath(reference)}`, registry);
      const headers = { "content-type": mediaType, "content-length": bytes.length };
      const answer = await send(`push ${repository}`, { method: "PUT", url, headers, body: bytes }, signal);
      if (answer.status !== 201) throw await refusal(answer);
      await discard(answer);
      const digest = digestOf(bytes, reference.kind === "digest" ? digestAlgorithm(reference.digest) : "sha256");
      const announced = announcedDigest(answer);
      if (announced !== undefined && digestOf(bytes, digestAlgorithm(announced)) !== announced)
        throw mismatch(answer.url, digest, announced);
      return { mediaType, digest, size: bytes.length };
    },
    listTags: (repository, signal) =>
      readTags((url) => send(`pull ${repository}`, { method: "GET", url }, signal), new URL(`/v2/${repository}/tags/list`, registry)),
    [Symbol.dispose]: () => exchange.close(),
  };
}

const manifestPath = (reference: ManifestReference) => `manifests/${formatManifestReference(reference)}`;

/** True for 404; any other refusal is thrown. */
async function isAbsent(answer: HttpAnswer): Promise<boolean> {
  if (answer.status === 200 || answer.status === 206) return false;
  const error = await refusal(answer);
  if (answer.status === 404) return true;
  throw error;
}

async function verifiedManifest(answer: HttpAnswer, reference: ManifestReference): Promise<ManifestContent> {
  const bytes = await readWhole(answer, manifestLimitBytes);
  const expected = reference.kind === "digest" ? reference.digest : announcedDigest(answer);
  const digest = digestOf(bytes, expected === undefined ? "sha256" : digestAlgorithm(expected));
  if (expected !== undefined && digest !== expected) throw mismatch(answer.url, expected, digest);
  const mediaType = mediaTypeOf(answer);
  if (mediaType === undefined)
    throw upstreamFault("ANSWER_INVALID", answer.url, `Cannot read manifest of ${answer.url.host}: it has no Content-Type`);
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

function blobContent({ headers, status, body, url }: HttpAnswer): BlobContent {
  if (status === 200) return { sizeBytes: sizeOf({ headers, url, body }), body };
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers["content-range"] ?? "");
  if (match === null) {
    body.destroy();
    throw upstreamFault("ANSWER_INVALID", url, `Cannot read blob of ${url.host}: 206 without a Content-Range`);
  }
  return { sizeBytes: Number(match[3]), range: { first: Number(match[1]), last: Number(match[2]) }, body };
}

function sizeOf({ headers, url, body }: Pick<HttpAnswer, "headers" | "url" | "body">): number {
  const text = headers["content-length"];
  if (text !== undefined && /^\d{1,15}$/.test(text)) return Number(text);
  body.destroy();
  throw upstreamFault("ANSWER_INVALID", url, `Cannot read the answer of ${url.host}: it has no Content-Length`);
}

function announcedDigest({ headers }: HttpAnswer): Digest | undefined {
  const text = headers["docker-content-digest"];
  return typeof text === "string" && isDigest(text) ? text : undefined;
}

function mediaTypeOf({ headers }: HttpAnswer): string | undefined {
  return headers["content-type"]?.split(";")[0]!.trim().toLowerCase();
}

function mismatch(url: URL, expected: Digest, found: Digest): Error {
  return upstreamFault("DIGEST_MISMATCH", url, `Cannot trust ${url.host}: expected ${expected}, found ${found}`);
}
