import { setTimeout as sleep } from "node:timers/promises";
import type { Readable } from "node:stream";
import type { Digest } from "../digest.ts";
import type { Repository } from "../repository.ts";
import { discard, refusal } from "./answer.ts";
import type { HttpAnswer } from "./http-exchange.ts";
import { UpstreamError, upstreamFault } from "./upstream-error.ts";

/** The bytes of a blob that is pushed. */
export type BlobSource = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** opens the bytes from `offset` to the end; called again when the connection broke and the registry holds a part of them */
  open(offset: number, signal: AbortSignal): Readable | Promise<Readable>;
  /** hears how many bytes have been handed to the connection */
  onProgress?(sentBytes: number): void;
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

/**
 * Pushes one blob (distribution-spec, "Pushing a blob in chunks", as one chunk). A connection that breaks is taken up where the
 * registry says it stands, as long as that moves on.
 * @throws UpstreamError of the last attempt, or whatever the source throws.
 */
export async function pushBlob(send: SendPush, uploads: URL, source: BlobSource, signal: AbortSignal): Promise<void> {
  let location = await startUpload(send, uploads, signal);
  let offset = 0;
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (source.sizeBytes > singlePutLimitBytes || offset > 0) {
        location = await appendRest(send, location, source, offset, signal);
        return await finish(send, location, source, undefined, signal);
      }
      return await finish(send, location, source, await open(source, 0, signal), signal);
    } catch (error) {
      if (!(error instanceof UpstreamError) || !error.retryable || attempt >= attemptsWithoutProgress) throw error;
      if ((error.retryAfterMs ?? 0) > longestPauseMs) throw error;
      await sleep(error.retryAfterMs ?? 100 * 2 ** attempt, undefined, { signal });
      const standing = await uploadStatus(send, location, error, signal);
      if (standing.offset > offset) attempt = 0;
      ({ offset, location } = standing);
    }
  }
}

async function startUpload(send: SendPush, url: URL, signal: AbortSignal): Promise<URL> {
  const answer = await send({ method: "POST", url, headers: { "content-length": 0 } }, signal);
  return locationOf(await expectStatus(answer, 202));
}

async function appendRest(send: SendPush, url: URL, source: BlobSource, offset: number, signal: AbortSignal): Promise<URL> {
  if (offset === source.sizeBytes) return url;
  const headers = {
    "content-type": "application/octet-stream",
    "content-length": source.sizeBytes - offset,
    ...(offset === 0 ? {} : { "content-range": `${offset}-${source.sizeBytes - 1}` }),
  };
  const answer = await send({ method: "PATCH", url, headers, body: await open(source, offset, signal) }, signal);
  return locationOf(await expectStatus(answer, 202));
}

async function finish(send: SendPush, location: URL, source: BlobSource, body: Readable | undefined, signal: AbortSignal): Promise<void> {
  const url = new URL(location);
  // appended as text: an upload's own query may be signed as it stands
  url.search = `${url.search}${url.search === "" ? "?" : "&"}digest=${encodeURIComponent(source.digest)}`;
  const headers = { "content-type": "application/octet-stream", "content-length": body === undefined ? 0 : source.sizeBytes };
  const answer = await send({ method: "PUT", url, headers, ...(body === undefined ? {} : { body }) }, signal);
  await expectStatus(answer, 201);
}

/** Where the registry says the upload stands; `failure` when it does not know the upload any more. */
async function uploadStatus(
  send: SendPush,
  url: URL,
  failure: UpstreamError,
  signal: AbortSignal,
): Promise<{ offset: number; location: URL }> {
  const answer = await send({ method: "GET", url }, signal);
  if (answer.status !== 204) {
    await discard(answer);
    throw failure;
  }
  await discard(answer);
  const last = /^(?:bytes=)?0-(\d+)$/.exec(answer.headers.range ?? "")?.[1];
  // an empty upload says 0-0, and so does one of a single byte: sending that byte again is refused, an empty one is common
  const offset = last === undefined || last === "0" ? 0 : Number(last) + 1;
  return { offset, location: answer.headers.location === undefined ? url : locationOf(answer) };
}

async function open(source: BlobSource, offset: number, signal: AbortSignal): Promise<Readable> {
  const body = await source.open(offset, signal);
  if (source.onProgress !== undefined) {
    let sentBytes = offset;
    const report = source.onProgress.bind(source);
    body.on("data", (chunk: Buffer) => report((sentBytes += chunk.length)));
    body.pause();
  }
  return body;
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
