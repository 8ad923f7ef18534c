import { createHash, timingSafeEqual } from "node:crypto";
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
  readonly failedLogins: FailedLogins;
  readonly systemToken?: string;
  readonly nowMs?: () => number;
};

const jwtShape = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;

/**
 * Tells the tokens of builds and the operator by itself. What is neither is a user's login and goes to the registry, but for an address
 * with too many failures, which is heard only with what was right before: nobody can lock out those who share an address with him.
 */
export function createCallers({ tokens, logins, failedLogins, systemToken, nowMs = Date.now }: CallersOptions): Callers {
  const systemHash = systemToken === undefined ? undefined : hashOf(systemToken);
  const isOperator = ({ username, password }: Login) =>
    username === systemUser && systemHash !== undefined && timingSafeEqual(hashOf(password), systemHash);

  const findUser = async (login: Login, about: Repository | undefined, waitMs: number): Promise<Caller | undefined> => {
    if (waitMs > 0 && !logins.isRemembered(login, about)) throw tooMany(waitMs);
    if ((await logins.actions(login, about)) === undefined) return undefined;
    return { kind: "deploy", actions: async (repository) => (await logins.actions(login, repository)) ?? [] };
  };

  return {
    async identify(login, { org, address, about }) {
      if (isOperator(login)) return { kind: "operator" };
      const isToken = jwtShape.test(login.password);
      const scope = isToken ? await tokens.verify(login.password, nowMs()) : undefined;
      if (scope?.org === org) return { kind: "build", scope };
      const waitMs = failedLogins.waitMs(address, nowMs());
      const user = isToken ? undefined : await findUser(login, about, waitMs);
      if (user !== undefined) return user;
      if (waitMs > 0) throw tooMany(waitMs);
      failedLogins.count(address, nowMs());
      return undefined;
    },
  };
}

const hashOf = (text: string): Buffer => createHash("sha256").update(text).digest();

const tooMany = (waitMs: number) => new DistributionError("TOOMANYREQUESTS", { retryAfterSeconds: Math.ceil(waitMs / 1000) });
