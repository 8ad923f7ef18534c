import { createKeyedQueue } from "../../config/keyed-queue.ts";
import { hasHash, hashSecret, parseDeployToken } from "../../config/deploy-token.ts";
import { systemUser } from "../../config/registry-client.ts";
import type { RegistryAction } from "../../oci/access.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Login } from "../../oci/routes/basic-login.ts";
import type { FailedLogins } from "../../oci/routes/failed-logins.ts";
import type { BuildScope, BuildTokens } from "./build-tokens.ts";
import type { DeployLogins } from "./deploy-logins.ts";

/** Who sent a request, by its credential; the org is always that of the socket. */
export type Caller =
  | { readonly kind: "operator" }
  | { readonly kind: "build"; readonly scope: BuildScope }
  | { readonly kind: "deploy"; readonly actions: (repository: Repository) => Promise<readonly RegistryAction[]> };

export type Callers = {
  /**
   * Who this is; undefined for a wrong credential. `about`: the repository that the request is for.
   * @throws DistributionError TOOMANYREQUESTS after many wrong ones from this address, UNAVAILABLE when a user's login cannot be checked.
   */
  identify(
    login: Login,
    from: { readonly org: string; readonly address: string; readonly about?: Repository },
  ): Promise<Caller | undefined>;
};

export type CallersOptions = {
  readonly tokens: Pick<BuildTokens, "verify">;
  readonly logins: DeployLogins;
  /** by client */
  readonly failedLogins: FailedLogins;
  /** by org, of those that the registry was asked about: it counts all of them as this host's */
  readonly failedAtRegistry: FailedLogins;
  readonly systemToken?: string;
  readonly nowMs?: () => number;
};

/**
 * Tells the tokens of builds and the operator by itself. What looks like a user's deploy token goes to the registry, but for a client or
 * an org with too many failures, which is heard only with what was right before: nobody can lock out those who share an address with him.
 */
export function createCallers({ tokens, logins, failedLogins, failedAtRegistry, systemToken, nowMs = Date.now }: CallersOptions): Callers {
  const systemHash = systemToken === undefined ? undefined : hashSecret(systemToken);
  const isOperator = ({ username, password }: Login) =>
    username === systemUser && systemHash !== undefined && hasHash(password, systemHash);

  // one after another, so that many wrong ones at once are not asked about before the first of them counts
  const turns = createKeyedQueue();

  const isRight = async (login: Login, org: string, about: Repository | undefined, clientWaitMs: number): Promise<boolean> => {
    const waitMs = Math.max(clientWaitMs, failedAtRegistry.waitMs(org, nowMs()));
    if (waitMs > 0 && !logins.isRemembered(login, about)) throw tooMany(waitMs);
    if ((await logins.actions(login, about)) !== undefined) return true;
    failedAtRegistry.count(org, nowMs());
    return false;
  };

  const findUser = async (login: Login, org: string, about: Repository | undefined, clientWaitMs: number): Promise<Caller | undefined> => {
    if (parseDeployToken(login.password) === undefined) return undefined;
    const ask = () => isRight(login, org, about, clientWaitMs);
    if (!(await (logins.isRemembered(login, about) ? ask() : turns(org, ask)))) return undefined;
    return { kind: "deploy", actions: async (repository) => (await logins.actions(login, repository)) ?? [] };
  };

  return {
    async identify(login, { org, address, about }) {
      if (isOperator(login)) return { kind: "operator" };
      const scope = await tokens.verify(login.password, nowMs());
      if (scope?.org === org) return { kind: "build", scope };
      const waitMs = failedLogins.waitMs(address, nowMs());
      const user = await findUser(login, org, about, waitMs);
      if (user !== undefined) return user;
      if (waitMs > 0) throw tooMany(waitMs);
      failedLogins.count(address, nowMs());
      return undefined;
    },
  };
}

const tooMany = (waitMs: number) => new DistributionError("TOOMANYREQUESTS", { retryAfterSeconds: Math.ceil(waitMs / 1000) });
