import { BoundedMap } from "../../config/bounded-map.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";
import { childrenIn } from "../pull/children-in.ts";

const mostRemembered = 20_000;
const mostParents = 3;

/** Which manifests name a digest, of those that were read lately: hosts are known to have images, not blobs. */
export type Parents = {
  readonly saw: (repository: Repository, manifest: ManifestContent) => void;
  /** The last one first. */
  readonly of: (repository: Repository, digest: Digest) => readonly Digest[];
};

export function createParents(): Parents {
  const parents = new BoundedMap<string, readonly Digest[]>(mostRemembered);
  const keyOf = (repository: Repository, digest: Digest): string => `${repository}@${digest}`;
  return {
    saw(repository, manifest) {
      const { digest: parent } = manifest.descriptor;
      for (const { digest } of childrenIn(manifest) ?? []) {
        const key = keyOf(repository, digest);
        const others = (parents.get(key) ?? []).filter((other) => other !== parent);
        parents.set(key, [parent, ...others].slice(0, mostParents));
      }
    },
    of: (repository, digest) => parents.get(keyOf(repository, digest)) ?? [],
  };
}
