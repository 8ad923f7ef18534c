import { createHash } from "node:crypto";
import { Agent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { S3Answer, S3Request } from "./s3-request.ts";
import { S3RequestError, readS3Error } from "./s3-request-error.ts";
import { type SigningKeys, createRequestSigner, emptyPayload, encodePath, formatQuery, unsignedPayload } from "./sign-request.ts";

/** A request ready to be sent. */
export type SignedRequest = { readonly url: URL; readonly path: string; readonly headers: Readonly<Record<string, string>> };

export type S3RequestsOptions = {
  readonly endpoint: string;
  readonly region: string;
  readonly forcePathStyle: boolean;
  readonly keys: () => Promise<SigningKeys>;
  readonly maxAttempts: number;
  readonly connectionTimeoutMs: number;
  /** until the headers of the answer, and for the rest of a short one; a download may be read as slowly as the client likes */
  readonly requestTimeoutMs: number;
  readonly maxSockets: number;
};

export type S3Requests = {
  /** @throws S3RequestError for an answer above 299, after repeating what may pass; or what the connection failed with. */
  send(request: S3Request, signal: AbortSignal | undefined): Promise<S3Answer>;
  sign(request: S3Request): Promise<SignedRequest>;
  close(): void;
};

const firstPauseMs = 50;
const longestPauseMs = 5_000;
/** versitygw stumbles over folders that a DELETE beside it has just emptied; no key of ours is the folder of another */
const emptyFolderCodes: ReadonlySet<string> = new Set(["ExistingObjectIsDirectory", "ObjectParentIsFile"]);
const mostSkewMs = 5 * 60_000;
/** parts are as long as this or longer: their hash for the signature would cost as much as all else */
const longBodyBytes = 1024 * 1024;

/**
 * S3 requests over Node's own HTTP client, signed. For the few operations that the registry does all the time: there the middleware of
 * the SDK costs several times what the request itself does.
 */
export function createS3Requests(options: S3RequestsOptions): S3Requests {
  const endpoint = new URL(options.endpoint);
  const isTls = endpoint.protocol === "https:";
  const sign = createRequestSigner(options.region);
  const pool = { keepAlive: true, maxSockets: options.maxSockets };
  const [agent, start] = isTls ? [new HttpsAgent(pool), httpsRequest] : [new Agent(pool), httpRequest];
  /** our clock against that of S3 */
  let skewMs = 0;

  const signed = async ({ method, bucket, key, query = {}, headers = {}, body }: S3Request): Promise<SignedRequest> => {
    const host = options.forcePathStyle ? endpoint.host : `${bucket}.${endpoint.host}`;
    const folder = endpoint.pathname.replace(/\/$/, "");
    const path = `${folder}/${options.forcePathStyle ? `${bucket}/` : ""}${encodePath(key)}`;
    const payload = payloadOf(body, isTls || isLoopback(endpoint));
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    const toSign = { method, host, path, query, headers: { ...headers, ...length }, payload };
    const text = formatQuery(query);
    return {
      url: new URL(`${endpoint.protocol}//${host}`),
      path: text === "" ? path : `${path}?${text}`,
      headers: sign(toSign, await options.keys(), new Date(Date.now() + skewMs)),
    };
  };

  const attempt = async (request: S3Request, signal: AbortSignal | undefined): Promise<S3Answer> => {
    const { url, path, headers } = await signed(request);
    signal?.throwIfAborted();
    return new Promise<S3Answer>((resolve, reject) => {
      const sent = start(
        {
          host: url.hostname.replace(/^\[|\]$/g, ""),
          port: url.port,
          path,
          method: request.method,
          headers,
          agent,
          ...(signal === undefined ? {} : { signal }),
        },
        (answer) => {
          clearTimeout(timer);
          resolve({ status: answer.statusCode!, headers: answer.headers, body: answer });
        },
      );
      const timer = setTimeout(() => sent.destroy(timedOut(`no answer for ${options.requestTimeoutMs} ms`)), options.requestTimeoutMs);
      sent.on("socket", (socket) => {
        if (!socket.connecting) return;
        const connecting = setTimeout(() => sent.destroy(timedOut("cannot connect")), options.connectionTimeoutMs);
        socket.once("connect", () => clearTimeout(connecting)).once("close", () => clearTimeout(connecting));
      });
      sent.on("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
      sent.end(request.body);
    });
  };

  const send: S3Requests["send"] = async (request, signal) => {
    for (let count = 1, pauseMs = firstPauseMs; ; count += 1, pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      try {
        const answer = await attempt(request, signal);
        if (answer.status < 300) return answer;
        throw await readInTime(answer.body, options.requestTimeoutMs, () => readS3Error(answer, request));
      } catch (error) {
        signal?.throwIfAborted();
        const isSkewed = error instanceof S3RequestError && isClockWrong(error, Date.now() + skewMs);
        if (isSkewed) skewMs = error.serverTimeMs! - Date.now();
        if (count >= options.maxAttempts || !(isSkewed || mayPass(error, request))) throw error;
      }
      await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, signal === undefined ? {} : { signal });
    }
  };
  return { send, sign: signed, close: () => agent.destroy() };
}

/** The signature covers a long body only where somebody between us and S3 could change it: neither within a host nor under TLS. */
function payloadOf(body: Uint8Array | undefined, isProtected: boolean): string {
  if (body === undefined || body.length === 0) return emptyPayload;
  return isProtected && body.length >= longBodyBytes ? unsignedPayload : createHash("sha256").update(body).digest("hex");
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
}

/** S3 refuses signatures that are 15 minutes off; the answer to HEAD does not say so. */
function isClockWrong({ $metadata, serverTimeMs }: S3RequestError, ourTimeMs: number): boolean {
  return $metadata.httpStatusCode === 403 && Math.abs((serverTimeMs ?? ourTimeMs) - ourTimeMs) > mostSkewMs;
}

/**
 * Everything that is no answer, and answers that ask to come again. But a DELETE whose answer was lost may have been executed, and what
 * others wrote there since must not go with it: whoever deletes repeats that one himself.
 */
function mayPass(error: unknown, { method }: S3Request): boolean {
  if (!(error instanceof S3RequestError)) return method !== "DELETE";
  if (method === "DELETE") return [429, 503].includes(error.$metadata.httpStatusCode) || emptyFolderCodes.has(error.name);
  return [408, 429, 500, 502, 503, 504].includes(error.$metadata.httpStatusCode) || emptyFolderCodes.has(error.name);
}

/** Reads a body that should come at once, as it is short; gives up when it does not. */
export async function readInTime<T>(body: Readable, timeoutMs: number, read: () => Promise<T>): Promise<T> {
  const timer = setTimeout(() => body.destroy(timedOut(`no whole answer for ${timeoutMs} ms`)), timeoutMs);
  try {
    return await read();
  } finally {
    clearTimeout(timer);
  }
}

function timedOut(what: string): Error {
  return Object.assign(new Error(`Cannot reach S3: ${what}`), { name: "TimeoutError", code: "ETIMEDOUT" });
}
