import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { childrenOf, parseManifest } from "../../oci/manifest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";

/** What a manifest that came from elsewhere names; undefined when it is none. */
export function childrenIn({ descriptor, bytes }: ManifestContent): readonly Descriptor[] | undefined {
  try {
    return childrenOf(parseManifest(bytes, descriptor.mediaType));
  } catch {
    return undefined;
  }
}

/** What a repository's manifest names, and the size that it says of each. */
export type NamedSizes = { readonly repository: Repository; readonly sizes: ReadonlyMap<Digest, number> };

/** Undefined for a manifest that is none. */
export function sizesIn(repository: Repository, manifest: ManifestContent): NamedSizes | undefined {
  const children = childrenIn(manifest);
  return children === undefined ? undefined : { repository, sizes: new Map(children.map(({ digest, size }) => [digest, size])) };
}

/** As one of the manifests says; undefined when none names the digest in that repository. */
export function namedSize(manifests: Iterable<NamedSizes>, repository: Repository, digest: Digest): number | undefined {
  return [...manifests].find((one) => one.repository === repository && one.sizes.has(digest))?.sizes.get(digest);
}
