import { createFailedLogins } from "../oci/routes/failed-logins.ts";
import type { GateAccess } from "../builder/gate/gate-access.ts";
import { GateError } from "../builder/gate/gate-error.ts";
import { trustedCa } from "../config/registry-client.ts";
import type { Settings } from "../config/settings.ts";
import { createCallers } from "../mirror/access/callers.ts";
import { createDeployLogins } from "../mirror/access/deploy-logins.ts";
import { createHttpExchange } from "../oci/client/http-exchange.ts";
import { DistributionError } from "../oci/errors.ts";
import { parseRepository } from "../oci/repository.ts";

export type BuilderAccess = Disposable & { readonly access: GateAccess };

/** An app's name has at most 40 characters: no token for a single app is good for this one. */
const noApps = "what-is-built-here-belongs-to-all-of-the-org";
const defaultRetryAfterSeconds = 5;

/**
 * Who may drive an org's builder: the operator, and whoever has a deploy token that may push in all of the org, as the registry said less
 * than 30 s ago. The token of a build is none: what a step gets hold of leads to the mirror and nowhere else.
 */
export function openBuilderAccess({ registry, caBundle }: Pick<Settings, "registry" | "caBundle">): BuilderAccess {
  const exchange = createHttpExchange({ connectTimeoutMs: 2_000, idleTimeoutMs: 5_000 }, trustedCa(caBundle));
  const callers = createCallers({
    tokens: { verify: async () => undefined },
    logins: createDeployLogins({ exchange, registry: new URL(registry.url) }),
    failedLogins: createFailedLogins(),
    // fewer than the registry takes from one host
    failedAtRegistry: createFailedLogins({ most: 5 }),
    ...(registry.systemToken === undefined ? {} : { systemToken: registry.systemToken }),
  });
  return {
    async access(login, { org, address }) {
      const about = parseRepository(`${org}/${noApps}`);
      try {
        const caller = await callers.identify(login, { org, address, about });
        if (caller === undefined) return "unknown";
        if (caller.kind === "operator") return "allowed";
        return caller.kind === "deploy" && (await caller.actions(about)).includes("push") ? "allowed" : "denied";
      } catch (error) {
        throw error instanceof DistributionError ? asGateError(error) : error;
      }
    },
    [Symbol.dispose]: () => exchange.close(),
  };
}

function asGateError(error: DistributionError): GateError {
  const { retryAfterSeconds = defaultRetryAfterSeconds, reason } = (error.detail ?? {}) as { retryAfterSeconds?: number; reason?: string };
  if (error.code === "TOOMANYREQUESTS") {
    return new GateError("TOO_MANY", `Too many wrong tokens; try again in ${retryAfterSeconds} s`, { retryAfterSeconds, cause: error });
  }
  return new GateError("UNAVAILABLE", `Cannot check the token: ${reason ?? error.message}`, { retryAfterSeconds, cause: error });
}
