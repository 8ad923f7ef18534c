import { setTimeout as sleep } from "node:timers/promises";
import { Readable } from "node:stream";
import type { Digest } from "../digest.ts";
import type { Repository } from "../repository.ts";
import { discard, refusal } from "./answer.ts";
import { type ChunkPlan, firstChunks, nextChunks } from "./chunk-plan.ts";
import type { HttpAnswer } from "./http-exchange.ts";
import { UpstreamError, upstreamFault } from "./upstream-error.ts";

/** The bytes of a blob that is pushed. */
export type BlobSource = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** opens the bytes from `offset` on, of which at most `length` are read; called again for each chunk and after each break */
  open(offset: number, signal: AbortSignal, length: number): Readable | Promise<Readable>;
  /** hears how far into the blob bytes have been handed to the connection */
  onProgress?(sentBytes: number): void;
  /** hears where an upload of an earlier push is taken up */
  onResume?(offset: number): void;
  /** without it an upload that this process cannot finish is begun anew by the next */
  readonly memory?: UploadMemory;
};

/** Keeps the place of an unfinished upload beyond this process. It may carry a token of the registry: not for logs or histories. */
export type UploadMemory = {
  recall(): Promise<URL | undefined>;
  keep(location: URL): Promise<void>;
  forget(): Promise<void>;
};

/** Sends one request of the push; `path` is relative to the registry or an upload's Location. */
export type SendPush = (
  request: { method: string; url: URL; headers?: Record<string, string | number>; body?: Readable },
  signal: AbortSignal,
) => Promise<HttpAnswer>;

/** smaller blobs go in the closing PUT itself: one round trip less, and little to lose */
const singlePutLimitBytes = 4 * 1024 * 1024;
const attemptsWithoutProgress = 3;
/** a registry that wants more patience than this is the caller's business */
const longestPauseMs = 5_000;

/** Where an upload stands: `offset` bytes of the blob are there, and no others. */
type Upload = { readonly location: URL; readonly offset: number; readonly chunks: ChunkPlan };

/**
 * Pushes one blob (distribution-spec, "Pushing a blob in chunks"). A connection that breaks is taken up where the registry says the
 * upload stands, as long as that moves on; an upload that the registry lost is begun anew.
 * @throws UpstreamError of the last attempt, or whatever the source throws.
 */
export async function pushBlob(send: SendPush, uploads: URL, source: BlobSource, signal: AbortSignal): Promise<void> {
  let upload = await recalledUpload(source);
  let mustAsk = upload !== undefined;
  let furthest = 0;
  for (let failures = 0; ;) {
    try {
      if (mustAsk && upload !== undefined) upload = await standingUpload(send, upload.location, source, signal);
      if (mustAsk && failures === 0 && upload !== undefined) source.onResume?.(upload.offset);
      mustAsk = false;
      upload ??= await startUpload(send, uploads, source, signal);
      if (upload.offset > furthest) [failures, furthest] = [0, upload.offset];
      if (source.sizeBytes <= singlePutLimitBytes && upload.offset === 0) {
        await finish(send, upload.location, source, await open(source, 0, source.sizeBytes, signal), signal);
      } else {
        while (upload.offset < source.sizeBytes) {
          upload = await appendChunk(send, upload, source, signal);
          await source.memory?.keep(upload.location);
          [failures, furthest] = [0, upload.offset];
        }
        await finish(send, upload.location, source, undefined, signal);
      }
      return await source.memory?.forget();
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      if (isHopeless(error)) await source.memory?.forget();
      failures += 1;
      mustAsk = true;
      const again = error.retryable || (upload !== undefined && isDisagreement(error));
      if (!again || failures >= attemptsWithoutProgress || (error.retryAfterMs ?? 0) > longestPauseMs) throw error;
      await sleep(error.retryAfterMs ?? 100 * 2 ** failures, undefined, { signal });
    }
  }
}

/** The registry sees the upload otherwise than we do, which asking for its status settles. */
const isDisagreement = ({ status }: UpstreamError): boolean => status === 404 || status === 416;

/** What is there already will not become the blob: 400 is what a digest that does not fit is answered with. */
const isHopeless = ({ status }: UpstreamError): boolean => status === 400 || status === 413;

async function recalledUpload({ memory }: BlobSource): Promise<Upload | undefined> {
  const location = await memory?.recall();
  return location === undefined ? undefined : { location, offset: 0, chunks: firstChunks(undefined) };
}

async function startUpload(send: SendPush, url: URL, source: BlobSource, signal: AbortSignal): Promise<Upload> {
  const answer = await send({ method: "POST", url, headers: { "content-length": 0 } }, signal);
  const location = locationOf(await expectStatus(answer, 202));
  await source.memory?.keep(location);
  return { location, offset: 0, chunks: firstChunks(answer.headers["oci-chunk-min-length"]) };
}

/** One chunk; the registry's word on how far that brought the upload is believed. */
async function appendChunk(send: SendPush, upload: Upload, source: BlobSource, signal: AbortSignal): Promise<Upload> {
  const { location, offset, chunks } = upload;
  const length = Math.min(chunks.bytes, source.sizeBytes - offset);
  const headers = {
    "content-type": "application/octet-stream",
    "content-length": length,
    // without it, it is a stream of the whole blob, which every registry knows
    ...(length === source.sizeBytes ? {} : { "content-range": `${offset}-${offset + length - 1}` }),
  };
  const startedMs = Date.now();
  const body = await open(source, offset, length, signal);
  const answer = await send({ method: "PATCH", url: location, headers, body }, signal);
  const next = locationOf(await expectStatus(answer, 202));
  const told = receivedBytes(answer) ?? 0;
  const reached = told > offset && told < offset + length ? told : offset + length;
  return { location: next, offset: reached, chunks: nextChunks(chunks, Date.now() - startedMs) };
}

async function finish(send: SendPush, location: URL, source: BlobSource, body: Readable | undefined, signal: AbortSignal): Promise<void> {
  const url = new URL(location);
  // appended as text: an upload's own query may be signed as it stands
  url.search = `${url.search}${url.search === "" ? "?" : "&"}digest=${encodeURIComponent(source.digest)}`;
  const headers = { "content-type": "application/octet-stream", "content-length": body === undefined ? 0 : source.sizeBytes };
  const answer = await send({ method: "PUT", url, headers, ...(body === undefined ? {} : { body }) }, signal);
  await expectStatus(answer, 201);
}

/** Undefined when the registry does not know the upload any more, or holds what cannot be this blob. */
async function standingUpload(send: SendPush, url: URL, source: BlobSource, signal: AbortSignal): Promise<Upload | undefined> {
  const answer = await send({ method: "GET", url }, signal);
  if (answer.status === 404) {
    await discard(answer);
    return undefined;
  }
  await expectStatus(answer, 204);
  // an empty upload says 0-0, and so does one of a single byte: sending that byte again is refused, an empty one is common
  const received = receivedBytes(answer) ?? 0;
  const offset = received === 1 ? 0 : received;
  if (offset > source.sizeBytes) {
    await send({ method: "DELETE", url }, signal).then(discard, () => {});
    return undefined;
  }
  const location = answer.headers.location === undefined ? url : locationOf(answer);
  return { location, offset, chunks: firstChunks(answer.headers["oci-chunk-min-length"]) };
}

function receivedBytes({ headers }: HttpAnswer): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(headers.range ?? "")?.[1];
  return last === undefined ? undefined : Number(last) + 1;
}

/** At most `length` bytes of the source. */
async function open(source: BlobSource, offset: number, length: number, signal: AbortSignal): Promise<Readable> {
  const body = await source.open(offset, signal, length);
  async function* chunk(): AsyncGenerator<Buffer> {
    let sentBytes = 0;
    for await (const part of body as AsyncIterable<Buffer>) {
      const wanted = part.subarray(0, length - sentBytes);
      sentBytes += wanted.length;
      source.onProgress?.(offset + sentBytes);
      yield wanted;
      if (sentBytes === length) return;
    }
  }
  const stream = Readable.from(chunk(), { objectMode: false });
  // a source that hangs would not hear of it from the generator
  stream.once("close", () => body.destroy());
  return stream;
}

async function expectStatus(answer: HttpAnswer, status: number): Promise<HttpAnswer> {
  if (answer.status !== status) throw await refusal(answer);
  await discard(answer);
  return answer;
}

function locationOf({ headers, url }: HttpAnswer): URL {
  const location = headers.location;
  if (location !== undefined && URL.canParse(location, url.href)) return new URL(location, url);
  throw upstreamFault("ANSWER_INVALID", url, `Cannot push to ${url.host}: its answer has no Location`);
}

/** end-11: true when the registry took the blob of `from` over, false when it has to be uploaded. */
export async function mountBlob(send: SendPush, uploads: URL, digest: Digest, from: Repository, signal: AbortSignal): Promise<boolean> {
  const url = new URL(uploads);
  url.searchParams.set("mount", digest);
  url.searchParams.set("from", from);
  const answer = await send({ method: "POST", url, headers: { "content-length": 0 } }, signal);
  if (answer.status === 201) {
    await discard(answer);
    return true;
  }
  // the session it offers instead is not wanted
  const location = locationOf(await expectStatus(answer, 202));
  await send({ method: "DELETE", url: location }, signal).then(discard, () => {});
  return false;
}
