import type { Descriptor } from "../../oci/descriptor.ts";
import type { Repository } from "../../oci/repository.ts";

/** The bytes of manifests that were read lately. They never change, but may be deleted: ask only after something fresh has named one. */
export type ManifestCache = {
  get(repository: Repository, descriptor: Descriptor): Uint8Array | undefined;
  keep(repository: Repository, descriptor: Descriptor, bytes: Uint8Array): void;
};

/** Those used last, `limitBytes` of them together. */
export function createManifestCache(limitBytes: number): ManifestCache {
  const kept = new Map<string, Uint8Array>();
  let keptBytes = 0;
  // the same bytes may come back under another media type after they were deleted
  const nameOf = (repository: Repository, { digest, mediaType }: Descriptor) => `${repository} ${digest} ${mediaType}`;
  const forget = (name: string) => {
    keptBytes -= kept.get(name)?.length ?? 0;
    kept.delete(name);
  };
  return {
    get: (repository, descriptor) => {
      const name = nameOf(repository, descriptor);
      const bytes = kept.get(name);
      if (bytes === undefined) return undefined;
      // the order of a map is that of insertion
      kept.delete(name);
      kept.set(name, bytes);
      return bytes;
    },
    keep: (repository, descriptor, bytes) => {
      const name = nameOf(repository, descriptor);
      forget(name);
      if (bytes.length > limitBytes / 8) return;
      kept.set(name, bytes);
      keptBytes += bytes.length;
      for (const oldest of kept.keys()) {
        if (keptBytes <= limitBytes) return;
        forget(oldest);
      }
    },
  };
}
