import { createHmac, randomBytes } from "node:crypto";
import { z } from "zod";
import { BoundedMap } from "../../config/bounded-map.ts";
import { type RegistryAction, parseScopes, registryActions } from "../../oci/access.ts";
import { discard, readWhole } from "../../oci/client/answer.ts";
import { type BearerChallenge, parseBearerChallenge, tokenUrl } from "../../oci/client/bearer-challenge.ts";
import { basicAuthorization } from "../../oci/client/bearer-tokens.ts";
import type { HttpExchange } from "../../oci/client/http-exchange.ts";
import { UpstreamError } from "../../oci/client/upstream-error.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Login } from "../../oci/routes/basic-login.ts";

/** Logins of users, whose deploy tokens only the registry knows. */
export type DeployLogins = {
  /**
   * What the login may do in the repository, as the registry said less than 30 s ago; undefined for a wrong one. Without a repository:
   * whether it is right.
   * @throws DistributionError UNAVAILABLE when the registry does not answer, TOOMANYREQUESTS when it wants to be left alone.
   */
  actions(login: Login, repository: Repository | undefined): Promise<readonly RegistryAction[] | undefined>;
  /** Whether the registry need not be asked. */
  isRemembered(login: Login, repository: Repository | undefined): boolean;
};

export type DeployLoginOptions = { readonly exchange: HttpExchange; readonly registry: URL; readonly nowMs?: () => number };

type Answer = { readonly actions: Promise<readonly RegistryAction[] | undefined>; readonly untilMs: number; isRight: boolean };

const rememberedMs = 30_000;
const mostRemembered = 1000;
const askTimeoutMs = 5_000;
const retryAfterSeconds = 5;
const answerLimitBytes = 64 * 1024;
const tokenAnswer = z.object({ scope: z.string() });

/** Asks the registry's token service what a login is good for. The login goes there and nowhere else; of it only a keyed hash is kept. */
export function createDeployLogins({ exchange, registry, nowMs = Date.now }: DeployLoginOptions): DeployLogins {
  const hashKey = randomBytes(32);
  const answers = new BoundedMap<string, Answer>(mostRemembered);
  const keyOf = ({ username, password }: Login, repository: Repository | undefined) =>
    createHmac("sha256", hashKey)
      .update(JSON.stringify([username, password, repository ?? ""]))
      .digest("base64");
  const recall = (key: string): Answer | undefined => {
    const found = answers.get(key);
    return found !== undefined && found.untilMs > nowMs() ? found : undefined;
  };

  const remember = (key: string, actions: Answer["actions"]): void => {
    const answer: Answer = { actions, untilMs: nowMs() + rememberedMs, isRight: false };
    answers.set(key, answer);
    const forget = () => void (answers.get(key) === answer && answers.delete(key));
    actions.then((found) => (found === undefined ? forget() : (answer.isRight = true)), forget);
  };

  return {
    async actions(login, repository) {
      const key = keyOf(login, repository);
      const known = recall(key);
      if (known !== undefined) return await known.actions;
      const asking = ask({ exchange, registry }, login, repository, AbortSignal.timeout(askTimeoutMs)).catch((error: unknown) => {
        throw asRefusal(error);
      });
      remember(key, asking);
      return await asking;
    },
    isRemembered: (login, repository) => recall(keyOf(login, repository))?.isRight === true,
  };
}

type Registry = Pick<DeployLoginOptions, "exchange" | "registry">;

async function ask(
  of: Registry,
  login: Login,
  repository: Repository | undefined,
  signal: AbortSignal,
): Promise<readonly RegistryAction[] | undefined> {
  const challenge = await challengeOf(of, signal);
  // a registry without tokens has no users
  if (challenge === undefined) return undefined;
  const scope = repository === undefined ? {} : { scope: `repository:${repository}:${registryActions.join(",")}` };
  const headers = { accept: "application/json", authorization: basicAuthorization(login) };
  const url = tokenUrl({ realm: challenge.realm, ...(challenge.service === undefined ? {} : { service: challenge.service }), ...scope });
  const answer = await of.exchange.send({ method: "GET", url, headers }, signal);
  if (answer.status === 401) {
    await discard(answer);
    return undefined;
  }
  const granted = tokenAnswer.parse(JSON.parse((await readWhole(answer, answerLimitBytes)).toString("utf8")));
  return parseScopes([granted.scope])?.find((access) => access.repository === repository)?.actions ?? [];
}

async function challengeOf({ exchange, registry }: Registry, signal: AbortSignal): Promise<BearerChallenge | undefined> {
  const answer = await exchange.send({ method: "GET", url: new URL("/v2/", registry), headers: {} }, signal);
  await discard(answer);
  if (answer.status < 300) return undefined;
  const challenge = answer.status === 401 ? parseBearerChallenge(answer.headers["www-authenticate"]) : undefined;
  if (challenge?.realm.origin === registry.origin) return challenge;
  throw new Error(`Cannot check logins: ${registry.host} answered ${answer.status} without a token service of its own`);
}

function asRefusal(cause: unknown): DistributionError {
  if (cause instanceof UpstreamError && cause.status === 429) {
    const waitMs = cause.retryAfterMs ?? retryAfterSeconds * 1000;
    return new DistributionError("TOOMANYREQUESTS", { retryAfterSeconds: Math.ceil(waitMs / 1000) }, { cause });
  }
  return new DistributionError(
    "UNAVAILABLE",
    { retryAfterSeconds, reason: "the registry that knows this login does not answer" },
    { cause },
  );
}
