import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { InFlight } from "./in-flight.ts";
import { requestHeaders, responseHeaders } from "./headers.ts";
import type { Target } from "./routes.ts";

export type ProxyDeps = {
  readonly app: string;
  /** in the order in which they are to be tried */
  readonly pick: () => readonly Target[];
  readonly inFlight: InFlight;
  readonly agent: http.Agent;
};

const connectTimeoutMs = 3000;

/** One request to the first target that takes it. Only a request that no target has begun to read is tried on another. */
export async function proxyRequest(deps: ProxyDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const targets = deps.pick();
  if (targets.length === 0) return refuse(response, 503, `No machine of app "${deps.app}" serves on this host.`);
  const reasons: string[] = [];
  for (const target of targets) {
    using _ = deps.inFlight.enter(target);
    const outcome = await attempt(deps, target, request, response);
    if (outcome === "done") return;
    reasons.push(`${target.address}:${target.port} ${outcome.failed}`);
    if (!outcome.retryable) break;
  }
  refuse(response, 502, `No machine of app "${deps.app}" took the request: ${reasons.join(", ")}.`);
}

type Outcome = "done" | { readonly failed: string; readonly retryable: boolean };

async function attempt(deps: ProxyDeps, target: Target, request: IncomingMessage, response: ServerResponse): Promise<Outcome> {
  const hasBody = request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined;
  // a kept connection may be closed by the machine just now: only a request that can be sent again goes onto one
  const repeatable = !hasBody && (request.method === "GET" || request.method === "HEAD");
  const upstream = http.request({
    host: target.address,
    port: target.port,
    method: request.method,
    path: request.url,
    headers: requestHeaders(request),
    agent: repeatable ? deps.agent : false,
    setHost: false,
  });
  return await new Promise<Outcome>((resolve) => {
    let connected = false;
    let answered = false;
    const onClientGone = () => {
      if (!response.writableFinished) upstream.destroy();
    };
    const finish = (outcome: Outcome) => {
      response.off("close", onClientGone);
      resolve(outcome);
    };
    response.once("close", onClientGone);
    upstream.once("socket", (socket) => {
      if (!socket.connecting) return begin();
      const timer = setTimeout(() => upstream.destroy(new Error("does not answer")), connectTimeoutMs);
      socket.once("connect", () => {
        clearTimeout(timer);
        begin();
      });
      socket.once("close", () => clearTimeout(timer));
    });
    const begin = () => {
      connected = true;
      if (hasBody) request.pipe(upstream);
      else upstream.end();
    };
    upstream.once("response", (answer) => {
      answered = true;
      response.writeHead(answer.statusCode ?? 502, answer.statusMessage, responseHeaders(answer));
      response.flushHeaders();
      answer.pipe(response);
      // cut short: the client must see that, too
      answer.once("error", () => response.destroy());
      answer.once("aborted", () => response.destroy());
      response.once("close", () => finish("done"));
    });
    upstream.once("error", (error: NodeJS.ErrnoException) => {
      if (hasBody) request.unpipe(upstream);
      if (response.destroyed) return finish("done");
      // an answer may come before the request's end, and is not spoiled by what was left unread
      if (answered) return;
      finish({ failed: error.code ?? error.message, retryable: !connected || (repeatable && upstream.reusedSocket) });
    });
    upstream.once("upgrade", (_answer, socket) => {
      socket.destroy();
      finish({ failed: "changed the protocol unasked", retryable: false });
    });
  });
}

function refuse(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "retry-after": "1", connection: "close" });
  response.end(`${text}\n`);
}
