import type { AnonymousTokens } from "./anonymous-tokens.ts";
import { discard } from "./answer.ts";
import { parseBearerChallenge } from "./bearer-challenge.ts";
import type { HttpAnswer, HttpExchange, HttpRequest } from "./http-exchange.ts";
import { longestRedirectChain, redirectTarget } from "./redirect.ts";
import { upstreamFault } from "./upstream-error.ts";

export type AuthorizedRequest = HttpRequest & {
  /** what the token is good for: repository and whether it writes */
  readonly purpose: string;
};

/**
 * Sends a request with the token it needs, fetching one when the registry asks for it, and follows the redirects of reads.
 * Authorization goes to the registry's own origin and to nowhere else.
 */
export async function sendAuthorized(
  { exchange, tokens, registry }: { exchange: HttpExchange; tokens: AnonymousTokens; registry: URL },
  request: AuthorizedRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const token = tokens.cached(request.purpose);
  const answer = await follow(exchange, registry, request, token, signal);
  if (answer.status !== 401 || answer.url.origin !== registry.origin) return answer;
  const challenge = parseBearerChallenge(answer.headers["www-authenticate"]);
  // a body that streams is spent by now: the caller starts over
  if (challenge === undefined || (request.body !== undefined && !(request.body instanceof Uint8Array))) return answer;
  await discard(answer);
  return follow(exchange, registry, request, await tokens.fetch(request.purpose, challenge, registry, signal), signal);
}

async function follow(
  exchange: HttpExchange,
  registry: URL,
  request: HttpRequest,
  token: string | undefined,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  let url = request.url;
  for (let step = 0; step <= longestRedirectChain; step += 1) {
    const authorization = token !== undefined && url.origin === registry.origin ? { authorization: `Bearer ${token}` } : {};
    const answer = await exchange.send({ ...request, url, headers: { ...request.headers, ...authorization } }, signal);
    const isRead = request.method === "GET" || request.method === "HEAD";
    const target = isRead ? redirectTarget(url, answer.status, answer.headers.location) : undefined;
    if (target === undefined) return answer;
    await discard(answer);
    url = target;
  }
  throw upstreamFault("REDIRECT_REFUSED", url, `Cannot follow the redirects of ${registry.host}: more than ${longestRedirectChain}`);
}
