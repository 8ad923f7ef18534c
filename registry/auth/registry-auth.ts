import type { Bucket } from "../bucket/bucket.ts";
import { createAccessTokens } from "./access-token.ts";
import { type Authorizer, createAuthorizer } from "./authorize.ts";
import { createCredentialChecker } from "./credentials.ts";
import { createDeployTokens } from "./deploy-tokens.ts";
import { createFailedLogins } from "../../oci/routes/failed-logins.ts";
import { createSigningKeys } from "./signing-keys.ts";
import type { TokenRouteOptions } from "./token-route.ts";

/** The audience of every token: all instances over one bucket are one service, whatever their addresses. */
const registryService = "slipway-registry";

export type RegistryAuth = Authorizer & { readonly tokenRoute: TokenRouteOptions };

export type RegistryAuthOptions = {
  readonly bucket: Bucket;
  /** where clients reach this registry; the token endpoint is below it */
  readonly url: string;
  readonly systemToken?: string;
};

/** Who may do what in the registry: tokens are made at `/token` and asked for under `/v2/`. */
export function createRegistryAuth({ bucket, url, systemToken }: RegistryAuthOptions): RegistryAuth {
  const tokens = createAccessTokens(createSigningKeys(bucket), registryService);
  const credentials = createCredentialChecker(createDeployTokens(bucket), systemToken);
  const authorizer = createAuthorizer({ tokens, realm: new URL("/token", url).href, service: registryService });
  return { ...authorizer, tokenRoute: { service: registryService, credentials, tokens, failedLogins: createFailedLogins() } };
}
