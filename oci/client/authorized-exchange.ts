import { discard } from "./answer.ts";
import { parseBearerChallenge } from "./bearer-challenge.ts";
import type { BearerTokens } from "./bearer-tokens.ts";
import type { HttpAnswer, HttpExchange, HttpRequest } from "./http-exchange.ts";
import { longestRedirectChain, redirectTarget } from "./redirect.ts";
import { upstreamFault } from "./upstream-error.ts";

export type AuthorizedRequest = HttpRequest & {
  /** what the token is good for: repository and whether it writes */
  readonly purpose: string;
};

type Registry = {
  readonly exchange: HttpExchange;
  readonly registry: URL;
  /** hosts of this registry's own storage */
  readonly redirectHosts: readonly string[];
};

/**
 * Sends a request with the token it needs, fetching one when the registry asks for it, and follows the redirects of reads.
 * Authorization goes to the registry's own origin and to nowhere else.
 */
export async function sendAuthorized(
  { exchange, tokens, registry, redirectHosts }: Registry & { readonly tokens: BearerTokens },
  request: AuthorizedRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const token = await tokens.current(request.purpose, signal);
  const answer = await follow({ exchange, registry, redirectHosts }, request, token, signal);
  if (answer.status !== 401 || answer.url.origin !== registry.origin) return answer;
  const challenge = parseBearerChallenge(answer.headers["www-authenticate"]);
  // a body that streams is spent by now: the caller starts over
  if (challenge === undefined || (request.body !== undefined && !(request.body instanceof Uint8Array))) return answer;
  await discard(answer);
  const fetched = await tokens.fetch(request.purpose, challenge, signal);
  return follow({ exchange, registry, redirectHosts }, request, fetched, signal);
}

async function follow(
  { exchange, registry, redirectHosts }: Registry,
  request: HttpRequest,
  token: string | undefined,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  let url = request.url;
  for (let step = 0; step <= longestRedirectChain; step += 1) {
    const authorization = token !== undefined && url.origin === registry.origin ? { authorization: `Bearer ${token}` } : {};
    const answer = await exchange.send({ ...request, url, headers: { ...request.headers, ...authorization } }, signal);
    const isRead = request.method === "GET" || request.method === "HEAD";
    let target: URL | undefined;
    try {
      target = isRead ? redirectTarget(url, answer.status, answer.headers.location, redirectHosts) : undefined;
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
    if (target === undefined) return answer;
    await discard(answer);
    url = target;
  }
  throw upstreamFault("REDIRECT_REFUSED", url, `Cannot follow the redirects of ${registry.host}: more than ${longestRedirectChain}`);
}
