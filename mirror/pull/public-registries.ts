import { createDistributionClient } from "../../oci/distribution-client.ts";
import type { ReadableStore } from "./readable-store.ts";
import { createUpstreamStore } from "./upstream.ts";

type PublicRegistry = { readonly baseUrl: string; readonly authRealmHosts?: readonly string[] };

/** The registries that a build may reach through the mirror. A closed list: any host would let a Dockerfile aim the mirror anywhere. */
const publicRegistries: Readonly<Record<string, PublicRegistry>> = {
  "docker.io": { baseUrl: "https://registry-1.docker.io", authRealmHosts: ["auth.docker.io"] },
  "gcr.io": { baseUrl: "https://gcr.io" },
  "ghcr.io": { baseUrl: "https://ghcr.io" },
  "mcr.microsoft.com": { baseUrl: "https://mcr.microsoft.com" },
  "public.ecr.aws": { baseUrl: "https://public.ecr.aws" },
  "quay.io": { baseUrl: "https://quay.io" },
  "registry.k8s.io": { baseUrl: "https://registry.k8s.io" },
};

/** Where Docker Hub cannot be reached, only one request in a minute finds that out. */
const reach = { connectTimeoutMs: 2_000, idleTimeoutMs: 15_000 };
const downMs = 60_000;

/** Answers a store for each public registry's own host name; undefined for every other name. Clients are made on first use. */
export function createPublicRegistries(ca?: string): (host: string) => ReadableStore | undefined {
  const stores = new Map<string, ReadableStore>();
  return (host) => {
    const registry = Object.hasOwn(publicRegistries, host) ? publicRegistries[host] : undefined;
    if (registry === undefined) return undefined;
    let store = stores.get(host);
    if (store === undefined) {
      const client = createDistributionClient({ ...registry, ...reach, ...(ca === undefined ? {} : { ca }) });
      stores.set(host, (store = createUpstreamStore(client, { downMs })));
    }
    return store;
  };
}
