import type { DistributionEndpoint } from "../../oci/distribution-path.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { DistributionTarget } from "../../oci/routes/distribution-call.ts";
import type { DistributionStore } from "../../oci/store.ts";
import type { Peers } from "../peers/peers.ts";
import type { Copies } from "../store/copies.ts";
import { hasCopies } from "../store/copy-names.ts";
import type { FetchedContent } from "../store/fetched-content.ts";
import type { BlobFetches, NamedSource } from "../pull/blob-fetches.ts";
import { copiedRegistry } from "../pull/copied-registry.ts";
import { type FetchingStore, fetchingStore } from "../pull/fetching-store.ts";
import { type ReadableStore, firstOf, readOnly } from "../pull/readable-store.ts";

export type StoreSources = {
  readonly org: string;
  /** the host's containerd */
  readonly local: DistributionStore;
  /** the durable registry; `host` is prefixed to the repository for what belongs to another registry */
  readonly upstream: (host?: string) => ReadableStore;
  /** undefined for a host that may not be asked */
  readonly publicRegistry: (host: string) => ReadableStore | undefined;
  /** what the org has pulled of other registries */
  readonly copies: Copies;
  /** fetches each blob once, however many want it */
  readonly fetches: BlobFetches;
  /** what takes in the org's own content that was fetched */
  readonly fetched: FetchedContent;
  /** other hosts' mirrors; absent: they are not asked */
  readonly peers?: Peers;
  readonly imageHost: string;
};

/** Chooses who answers a request. `method` is HEAD, GET or one of those that write. */
export function selectStore(sources: StoreSources, method: string, { endpoint, ns }: DistributionTarget): DistributionStore {
  if (ns !== undefined && ns !== sources.imageHost) return ofOtherRegistry(sources, ns);
  if (isPushersQuestion(method, endpoint) || !isOwn(sources.org, endpoint)) return sources.local;
  return ofOwnRepositories(sources);
}

/**
 * "Do you have this digest?" is what a pusher asks before it sends anything, and a yes makes it send nothing. So the answer is
 * about this host alone, as it must be true for the manifest that follows; and upstream being slow or down slows no push.
 */
function isPushersQuestion(method: string, endpoint: DistributionEndpoint): boolean {
  if (method !== "HEAD") return false;
  return endpoint.kind === "statBlob" || (endpoint.kind === "resolveManifest" && endpoint.reference.kind === "digest");
}

function isOwn(org: string, endpoint: DistributionEndpoint): boolean {
  return "repository" in endpoint && endpoint.repository.startsWith(`${org}/`);
}

type ElsewhereSources = Pick<StoreSources, "org" | "upstream" | "fetches" | "fetched" | "peers">;

/** The org's own repositories as other hosts and the durable registry have them. */
function elsewhere({ org, upstream, fetches, fetched, peers }: ElsewhereSources): FetchingStore {
  const sources = [...named("peers", peers?.source), { name: "upstream", store: upstream() }];
  return fetchingStore({ scope: org, sources, fetches, fetched });
}

/** The same for who brings whole images here. */
export function imageSource(stores: ElsewhereSources): FetchingStore {
  const store = elsewhere(stores);
  return {
    ...store,
    manifests: {
      ...store.manifests,
      async read(repository, reference, signal) {
        const content = await store.manifests.read(repository, reference, signal);
        if (content !== undefined) stores.peers?.saw(repository, content);
        return content;
      },
    },
  };
}

function ofOwnRepositories(stores: StoreSources): DistributionStore {
  const { local, peers } = stores;
  const durable = elsewhere(stores);
  const readable = firstOf([noted(stores), durable]);
  return {
    ...local,
    blobs: { ...local.blobs, ...readable.blobs },
    manifests: {
      ...local.manifests,
      async read(repository, reference, signal) {
        const content = await readable.manifests.read(repository, reference, signal);
        if (content !== undefined) peers?.saw(repository, content);
        return content;
      },
      // a pusher asks for its tag too, and takes any answer but yes and no for a failure
      resolve: (repository, reference, signal) => firstOf([local, orAbsent(durable)]).manifests.resolve(repository, reference, signal),
    },
  };
}

/** An image that is read here is still here, and of use: other hosts may go on asking for it, and a prune leaves it alone. */
function noted({ local, fetched, peers }: Pick<StoreSources, "local" | "fetched" | "peers">): ReadableStore {
  return {
    ...local,
    manifests: {
      ...local.manifests,
      async read(repository, reference, signal) {
        const content = await local.manifests.read(repository, reference, signal);
        if (content === undefined) return undefined;
        fetched.used(repository, content.descriptor.digest);
        peers?.has(repository, content.descriptor.digest);
        return content;
      },
    },
  };
}

function orAbsent(source: ReadableStore): ReadableStore {
  return {
    ...source,
    manifests: {
      ...source.manifests,
      async resolve(repository, reference, signal) {
        try {
          return await source.manifests.resolve(repository, reference, signal);
        } catch (error) {
          if (error instanceof DistributionError && error.code === "UNAVAILABLE") return undefined;
          throw error;
        }
      },
    },
  };
}

/** Pulls on behalf of another registry: from what is here, from the copies upstream holds of it, then from itself. */
function ofOtherRegistry({ org, upstream, publicRegistry, copies, fetches }: StoreSources, host: string): DistributionStore {
  const sources = [...named("upstream", hasCopies(host) ? upstream(host) : undefined), ...named(host, publicRegistry(host))];
  const options = { scope: `${org} ${host}`, sources, fetches };
  if (!hasCopies(host)) return readOnly(fetchingStore(options));
  const ofHost = copies(host);
  return readOnly(copiedRegistry(ofHost, fetchingStore({ ...options, fetched: ofHost.fetched })));
}

/** No org has such a name, and no registry: neither a push nor `?ns=` reaches what is kept under it. */
const sourcesHost = "build_sources";

/** The org's sources as upstream has them; what is read stays on this host, apart from images, and nothing of it is unpacked. */
export function sourceStore({
  org,
  upstream,
  copies,
  fetches,
}: Pick<StoreSources, "org" | "upstream" | "copies" | "fetches">): ReadableStore {
  const ofHost = copies(sourcesHost);
  const sources = named("upstream", upstream());
  return copiedRegistry(ofHost, fetchingStore({ scope: `${org} ${sourcesHost}`, sources, fetches, fetched: ofHost.fetched }));
}

const named = (name: string, store: ReadableStore | undefined): NamedSource[] => (store === undefined ? [] : [{ name, store }]);
