import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { FetchedContent } from "../store/fetched-content.ts";
import type { BlobFetches, FetchRequest, NamedSource } from "./blob-fetches.ts";
import { type ReadableStore, firstOf } from "./readable-store.ts";

export type FetchingStoreOptions = {
  /** names who asks and on behalf of which registry: only these share a fetch */
  readonly scope: string;
  readonly sources: readonly NamedSource[];
  readonly fetches: BlobFetches;
  /** absent: what is fetched passes through */
  readonly fetched?: Pick<FetchedContent, "keep" | "expect" | "sizeOf">;
};

export type FetchingStore = ReadableStore & {
  /** Brings a whole blob into what is kept, with nobody reading it. Whether it was kept is to be looked for after. */
  receive(repository: Repository, blob: Pick<Descriptor, "digest" | "size">, signal: AbortSignal): Promise<void>;
};

/** The sources as one store. A whole blob is fetched once for all who want it; a part comes from that fetch or straight from a source. */
export function fetchingStore({ scope, sources, fetches, fetched }: FetchingStoreOptions): FetchingStore {
  const direct = firstOf(sources.map(({ store }) => store));
  /** What no manifest names is not kept. */
  function requestOf(repository: Repository, digest: Digest, sizeBytes: number | undefined): FetchRequest {
    const passing = { scope, repository, digest, sources };
    if (fetched === undefined || sizeBytes === undefined) return passing;
    return { ...passing, sizeBytes, keep: (foundBytes) => fetched.keep(repository, digest, foundBytes) };
  }
  return {
    receive: (repository, { digest, size }, signal) => fetches.receive(requestOf(repository, digest, size), signal),
    blobs: {
      stat: direct.blobs.stat,
      read(repository, digest, range, signal) {
        const request = requestOf(repository, digest, fetched?.sizeOf(repository, digest));
        if (range !== undefined && !fetches.isFetching(request)) return direct.blobs.read(repository, digest, range, signal);
        return fetches.read(request, range, signal);
      },
    },
    manifests: {
      resolve: direct.manifests.resolve,
      async read(repository, reference, signal) {
        const content = await direct.manifests.read(repository, reference, signal);
        if (content !== undefined) fetched?.expect(repository, content);
        return content;
      },
    },
  };
}
