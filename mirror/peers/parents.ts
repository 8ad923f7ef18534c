import type { Digest } from "../../oci/digest.ts";
import { childrenOf, parseManifest } from "../../oci/manifest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";

const mostRemembered = 20_000;
const mostParents = 3;

/** Which manifests name a digest, of those that were read lately: hosts are known to have images, not blobs. */
export type Parents = {
  readonly saw: (repository: Repository, manifest: ManifestContent) => void;
  /** The last one first. */
  readonly of: (repository: Repository, digest: Digest) => readonly Digest[];
};

export function createParents(): Parents {
  const parents = new Map<string, readonly Digest[]>();
  const keyOf = (repository: Repository, digest: Digest): string => `${repository}@${digest}`;
  return {
    saw(repository, { descriptor, bytes }) {
      for (const { digest } of childrenIn(descriptor.mediaType, bytes)) {
        const key = keyOf(repository, digest);
        const others = (parents.get(key) ?? []).filter((parent) => parent !== descriptor.digest);
        parents.delete(key);
        parents.set(key, [descriptor.digest, ...others].slice(0, mostParents));
        if (parents.size > mostRemembered) parents.delete(parents.keys().next().value!);
      }
    },
    of: (repository, digest) => parents.get(keyOf(repository, digest)) ?? [],
  };
}

/** What is no manifest has no children. */
function childrenIn(mediaType: string, bytes: Uint8Array): ReturnType<typeof childrenOf> {
  try {
    return childrenOf(parseManifest(bytes, mediaType));
  } catch {
    return [];
  }
}
