import type { FetchedContent } from "../store/fetched-content.ts";
import type { BlobFetches, NamedSource } from "./blob-fetches.ts";
import { type ReadableStore, firstOf } from "./readable-store.ts";

export type FetchingStoreOptions = {
  /** names who asks and on behalf of which registry: only these share a fetch */
  readonly scope: string;
  readonly sources: readonly NamedSource[];
  readonly fetches: BlobFetches;
  /** absent: what is fetched passes through */
  readonly fetched?: FetchedContent;
};

/** The sources as one store. A whole blob is fetched once for all who want it; a part comes from that fetch or straight from a source. */
export function fetchingStore({ scope, sources, fetches, fetched }: FetchingStoreOptions): ReadableStore {
  const direct = firstOf(sources.map(({ store }) => store));
  return {
    blobs: {
      stat: direct.blobs.stat,
      read(repository, digest, range, signal) {
        const keep = fetched === undefined ? {} : { keep: (sizeBytes: number) => fetched.keep(repository, digest, sizeBytes) };
        const request = { scope, repository, digest, sources, ...keep };
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
