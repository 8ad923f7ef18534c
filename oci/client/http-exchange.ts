import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { PassThrough, type Readable } from "node:stream";
import { tracing } from "../tracing.ts";
import { limitConnecting } from "./limit-connecting.ts";
import { UpstreamError, upstreamFault, withoutQuery } from "./upstream-error.ts";

export type HttpTimeouts = {
  readonly connectTimeoutMs: number;
  /** longest silence of the other side; a slow reader or a slow source of ours does not count */
  readonly idleTimeoutMs: number;
};

export type HttpRequest = {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body?: Uint8Array | Readable;
};

export type HttpAnswer = {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Readable;
  readonly url: URL;
};

export type HttpExchange = { send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer>; close(): void };

const answerBufferBytes = 1024 * 1024;

/**
 * Sends single requests over kept-alive connections; follows nothing, and retries nothing but a GET or HEAD on a connection that the other
 * side had just given up (RFC 9110, section 9.2.2). `ca`: PEM of the certificates to trust.
 */
export function createHttpExchange(timeouts: HttpTimeouts, ca?: string): HttpExchange {
  const agents = {
    "http:": new http.Agent({ keepAlive: true }),
    "https:": new https.Agent({ keepAlive: true, ...(ca === undefined ? {} : { ca }) }),
  };
  return {
    send: async (asked, signal) => {
      signal.throwIfAborted();
      const transport = asked.url.protocol === "https:" ? https : http;
      const agent = asked.url.protocol === "https:" ? agents["https:"] : agents["http:"];
      return inClientSpan(asked, async () => {
        const headers = { ...asked.headers, ...tracing.headers() };
        for (;;) {
          const request = transport.request(asked.url, { method: asked.method, headers, agent, signal });
          watchTimeouts(request, asked.url, timeouts);
          try {
            return await exchange(request, asked, signal);
          } catch (error) {
            // each time one connection fewer is kept; a fresh one ends it
            if (!request.reusedSocket || !isSafe(asked) || !isLost(error)) throw error;
          }
        }
      });
    },
    close: () => {
      agents["http:"].destroy();
      agents["https:"].destroy();
    },
  };
}

const isSafe = ({ method, body }: HttpRequest): boolean => (method === "GET" || method === "HEAD") && body === undefined;

const isLost = (error: unknown): boolean => error instanceof UpstreamError && error.code === "CONNECTION_LOST";

/** Until the headers of the answer. */
function inClientSpan({ method, url }: HttpRequest, act: () => Promise<HttpAnswer>): Promise<HttpAnswer> {
  const fields = { "http.request.method": method, "server.address": url.host, "url.path": url.pathname };
  return tracing.inSpan({ kind: "client", name: `HTTP ${method}`, fields }, async (span) => {
    const answer = await act();
    span.set({ "http.response.status_code": answer.status });
    return answer;
  });
}

async function exchange(request: http.ClientRequest, { url, body }: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
  const answered = new Promise<HttpAnswer>((resolve, reject) => {
    request.once("response", (response) => {
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answerBody(request, response, url, signal), url });
    });
    request.on("error", (error) => reject(toUpstreamError(error, url, signal)));
  });
  if (body === undefined || body instanceof Uint8Array) {
    request.end(body);
    return answered;
  }
  // an answer may come before the body is through (413, 416): whichever is first decides
  return Promise.race([answered, sendBody(request, body).then(() => answered)]).catch((error: unknown) => {
    request.destroy();
    throw error;
  });
}

/** Rejects with the source's own error; an error of the connection is the answer's business. */
async function sendBody(request: http.ClientRequest, body: Readable): Promise<void> {
  const closed = new AbortController();
  request.once("close", () => {
    closed.abort();
    body.destroy();
  });
  request.once("response", () => {
    if (!request.writableEnded) closed.abort();
  });
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (closed.signal.aborted) return;
      if (!request.write(chunk)) await once(request, "drain", { signal: closed.signal }).catch(() => {});
    }
    if (!closed.signal.aborted) request.end();
  } finally {
    body.destroy();
  }
}

/** Errors of the answer's body arrive as {@link UpstreamError}; destroying it lets go of the connection. */
function answerBody(request: http.ClientRequest, response: http.IncomingMessage, url: URL, signal: AbortSignal): Readable {
  const body = new PassThrough({ highWaterMark: answerBufferBytes });
  response.once("error", (error) => body.destroy(toUpstreamError(error, url, signal)));
  // one that nobody reads yet, or ever, must not become an uncaught exception
  body.on("error", () => {});
  body.once("close", () => {
    if (!response.complete || !request.writableFinished) request.destroy();
  });
  response.pipe(body);
  return body;
}

function watchTimeouts(request: http.ClientRequest, url: URL, { connectTimeoutMs, idleTimeoutMs }: HttpTimeouts): void {
  limitConnecting(request, url, connectTimeoutMs, () =>
    upstreamFault("TIMEOUT", url, `Cannot connect to ${url.host}: no connection within ${connectTimeoutMs} ms`),
  );
  let response: http.IncomingMessage | undefined;
  request.once("response", (answer) => (response = answer));
  request.setTimeout(idleTimeoutMs, () => {
    const ourTurn = response === undefined ? !request.writableEnded && !request.writableNeedDrain : response.isPaused();
    if (ourTurn) return;
    const error = upstreamFault("TIMEOUT", url, `Cannot finish ${request.method} ${withoutQuery(url)}: silence for ${idleTimeoutMs} ms`);
    if (response === undefined) request.destroy(error);
    else response.destroy(error);
  });
}

function toUpstreamError(error: Error & { code?: string }, url: URL, signal: AbortSignal): Error {
  if (error instanceof UpstreamError) return error;
  if (signal.aborted) return signal.reason as Error;
  const connecting = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"].includes(error.code ?? "");
  const certificate = /^(CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_TLS)/.test(error.code ?? "");
  if (certificate) return upstreamFault("ANSWER_INVALID", url, `Cannot trust ${url.host}: ${error.message}`, error);
  return connecting
    ? upstreamFault("CONNECT_FAILED", url, `Cannot connect to ${url.host}: ${error.message}`, error)
    : upstreamFault("CONNECTION_LOST", url, `Lost the connection to ${url.host}: ${error.message}`, error);
}
