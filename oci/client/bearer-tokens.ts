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
/** whoever makes us ask for ever more repositories must not make us remember them all */
const mostTokens = 1000;

const tokenAnswer = z.object({ token: z.string().optional(), access_token: z.string().optional(), expires_in: z.number().optional() });

export type Credentials = { readonly username: string; readonly password: string };

export type BearerTokens = {
  /** The token for this purpose, fetched anew when the last one is over; undefined when none was ever asked for. */
  current(purpose: string, signal: AbortSignal): Promise<string | undefined>;
  /** Fetches one. @throws UpstreamError REALM_REFUSED when the challenge leads to a host that nobody allowed. */
  fetch(purpose: string, challenge: BearerChallenge, signal: AbortSignal): Promise<string>;
};

export type BearerTokenOptions = {
  readonly exchange: HttpExchange;
  readonly registry: URL;
  /** hosts beside the registry's own that may be asked for an anonymous token */
  readonly realmHosts: readonly string[];
  readonly userAgent: string;
  /** shown to the registry's own origin and to no other */
  readonly credentials?: Credentials;
};

type Known = { readonly challenge: BearerChallenge; readonly token: string; readonly untilMs: number };

/** The client's half of the token flow (distribution's "Token Authentication"): anonymous, or with the credentials for one registry. */
export function createBearerTokens({ exchange, registry, realmHosts, userAgent, credentials }: BearerTokenOptions): BearerTokens {
  const tokens = new Map<string, Known>();

  const fetch: BearerTokens["fetch"] = async (purpose, challenge, signal) => {
    const { realm } = challenge;
    if (![registry.host, ...realmHosts].includes(realm.host) || (registry.protocol === "https:" && realm.protocol !== "https:")) {
      throw upstreamFault("REALM_REFUSED", registry, `Cannot ask "${realm.origin}" for a token: allow its host in authRealmHosts`);
    }
    const url = tokenUrl(challenge);
    const headers = {
      accept: "application/json",
      "user-agent": userAgent,
      // a registry that answers for another host must not get what is meant for this one
      ...(credentials === undefined || realm.origin !== registry.origin ? {} : { authorization: basicAuthorization(credentials) }),
    };
    const answer = await exchange.send({ method: "GET", url, headers }, signal);
    const bytes = await readWhole(answer, tokenLimitBytes);
    const parsed = tokenAnswer.safeParse(parseJson(bytes));
    const token = parsed.data?.token ?? parsed.data?.access_token;
    if (token === undefined || /[^\x21-\x7e]/.test(token))
      throw upstreamFault("ANSWER_INVALID", url, `Cannot read the token of ${url.host}`);
    const lifetimeMs = (parsed.data?.expires_in ?? defaultLifetimeSeconds) * 1000;
    tokens.delete(purpose);
    if (tokens.size >= mostTokens) tokens.delete(tokens.keys().next().value!);
    tokens.set(purpose, { challenge, token, untilMs: Date.now() + lifetimeMs - marginMs });
    return token;
  };

  return {
    fetch,
    current: async (purpose, signal) => {
      const known = tokens.get(purpose);
      if (known === undefined || known.untilMs > Date.now()) return known?.token;
      // before the request, as its body may be one that can be sent only once
      return fetch(purpose, known.challenge, signal);
    },
  };
}

/** The header of a login (RFC 7617). */
export function basicAuthorization({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}
