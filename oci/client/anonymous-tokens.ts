import { z } from "zod";
import { readWhole } from "./answer.ts";
import { type BearerChallenge, tokenUrl } from "./bearer-challenge.ts";
import type { HttpExchange } from "./http-exchange.ts";
import { upstreamFault } from "./upstream-error.ts";

const tokenLimitBytes = 1024 * 1024;
/** what the token specification says when an answer does not */
const defaultLifetimeSeconds = 60;
/** a token is not used in the last moments of its life */
const marginMs = 5_000;

const tokenAnswer = z.object({ token: z.string().optional(), access_token: z.string().optional(), expires_in: z.number().optional() });

export type AnonymousTokens = {
  /** The token fetched before for this purpose, while it lives. */
  cached(purpose: string): string | undefined;
  /** Fetches one. @throws UpstreamError REALM_REFUSED when the challenge leads to a host that nobody allowed. */
  fetch(purpose: string, challenge: BearerChallenge, registry: URL, signal: AbortSignal): Promise<string>;
};

/** The anonymous half of the token flow that Docker Hub and its like ask for (distribution's "Token Authentication"). */
export function createAnonymousTokens(exchange: HttpExchange, realmHosts: readonly string[], userAgent: string): AnonymousTokens {
  const tokens = new Map<string, { token: string; untilMs: number }>();
  return {
    cached: (purpose) => {
      const found = tokens.get(purpose);
      return found !== undefined && found.untilMs > Date.now() ? found.token : undefined;
    },
    fetch: async (purpose, challenge, registry, signal) => {
      const { realm } = challenge;
      if (!realmHosts.includes(realm.host) || (registry.protocol === "https:" && realm.protocol !== "https:")) {
        throw upstreamFault("REALM_REFUSED", registry, `Cannot ask "${realm.origin}" for a token: allow its host in authRealmHosts`);
      }
      const url = tokenUrl(challenge);
      const answer = await exchange.send({ method: "GET", url, headers: { accept: "application/json", "user-agent": userAgent } }, signal);
      const bytes = await readWhole(answer, tokenLimitBytes);
      const parsed = tokenAnswer.safeParse(parseJson(bytes));
      const token = parsed.data?.token ?? parsed.data?.access_token;
      if (token === undefined || /[^\x21-\x7e]/.test(token))
        throw upstreamFault("ANSWER_INVALID", url, `Cannot read the token of ${url.host}`);
      const lifetimeMs = (parsed.data?.expires_in ?? defaultLifetimeSeconds) * 1000;
      tokens.set(purpose, { token, untilMs: Date.now() + lifetimeMs - marginMs });
      return token;
    },
  };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
