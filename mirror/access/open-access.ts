import path from "node:path";
import { instancePaths } from "../../config/paths.ts";
import { trustedCa } from "../../config/registry-client.ts";
import type { Settings } from "../../config/settings.ts";
import { createHttpExchange } from "../../oci/client/http-exchange.ts";
import { createFailedLogins } from "../../oci/routes/failed-logins.ts";
import { type BuildTokens, createBuildTokens } from "./build-tokens.ts";
import { createCallers } from "./callers.ts";
import { createDeployLogins } from "./deploy-logins.ts";
import { type OrgAccess, createOrgAccess } from "./org-access.ts";
import { openTokenKey } from "./token-key.ts";

export type MirrorAccess = AsyncDisposable & {
  readonly tokens: BuildTokens;
  /** absent when the settings ask for no credentials */
  readonly of?: (org: string) => OrgAccess;
};

/** Tokens are made in any case, so that builders need not know whether they are asked for. */
export async function openAccess(settings: Settings): Promise<MirrorAccess> {
  const { registry, mirror, caBundle } = settings;
  const tokens = createBuildTokens(await openTokenKey(path.join(instancePaths.mirrorState(settings), "token-key")));
  if (mirror.auth !== "tokens") return { tokens, [Symbol.asyncDispose]: async () => undefined };
  const ca = trustedCa(caBundle);
  const exchange = createHttpExchange({ connectTimeoutMs: 2_000, idleTimeoutMs: 5_000 }, ca);
  const callers = createCallers({
    tokens,
    logins: createDeployLogins({ exchange, registry: new URL(registry.url) }),
    failedLogins: createFailedLogins(),
    // fewer than the registry takes from one host
    failedAtRegistry: createFailedLogins({ most: 5 }),
    ...(registry.systemToken === undefined ? {} : { systemToken: registry.systemToken }),
  });
  return {
    tokens,
    of: (org) => createOrgAccess({ org, imageHost: registry.imageHost, callers }),
    [Symbol.asyncDispose]: async () => exchange.close(),
  };
}
