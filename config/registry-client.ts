import { readFileSync } from "node:fs";
import { rootCertificates } from "node:tls";
import { type DistributionClient, type DistributionClientOptions, createDistributionClient } from "../oci/distribution-client.ts";
import type { Settings } from "./settings.ts";

/** The user whose password is `registry.systemToken`. */
export const systemUser = "slipway";

/** What the registry's certificate may be signed by beside the usual authorities, with those; undefined when there is nothing beside. */
export function trustedCa(caBundle: string | undefined): string | undefined {
  return caBundle === undefined ? undefined : [...rootCertificates, readFileSync(caBundle, "utf8")].join("\n");
}

/** The instance's own registry, as its processes and its CLI speak to it: with the instance's token, trusting its CA bundle. */
export function createRegistryClient(
  { registry, s3, caBundle }: Settings,
  timeouts: Pick<DistributionClientOptions, "connectTimeoutMs" | "idleTimeoutMs"> = {},
): DistributionClient {
  const ca = trustedCa(caBundle);
  return createDistributionClient({
    baseUrl: registry.url,
    ...(registry.systemToken === undefined ? {} : { credentials: { username: systemUser, password: registry.systemToken } }),
    ...(registry.redirect === undefined ? {} : { redirectHosts: [new URL(registry.redirect.endpoint ?? s3.endpoint).host] }),
    ...(ca === undefined ? {} : { ca }),
    ...timeouts,
  });
}
