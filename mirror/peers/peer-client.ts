import { type DistributionClient, createDistributionClient } from "../../oci/distribution-client.ts";
import type { Repository } from "../../oci/repository.ts";
import type { PeerTokens } from "./peer-tokens.ts";

export type PeerClientOptions = { readonly url: string; readonly tokens: Pick<PeerTokens, "mint">; readonly ca?: string };

/** A peer is near or no help. */
const reach = { connectTimeoutMs: 500, idleTimeoutMs: 5_000 };

/** Speaks to another host's mirror, with a new token for each request. */
export function createPeerClient({ url, tokens, ca }: PeerClientOptions): DistributionClient {
  const mint = (purpose: string): Promise<string> => tokens.mint(purpose.replace(/^\w+ /, "") as Repository, Date.now());
  return createDistributionClient({
    baseUrl: url,
    tokens: { current: mint, fetch: mint },
    ...reach,
    ...(ca === undefined ? {} : { ca }),
  });
}
