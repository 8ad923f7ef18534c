import type { Digest } from "../../oci/digest.ts";
import { childrenOf, parseManifest } from "../../oci/manifest.ts";
import type { ManifestContent } from "../../oci/store.ts";

/** What a manifest that came from elsewhere names; undefined when it is none. */
export function childrenIn({ descriptor, bytes }: ManifestContent): readonly Digest[] | undefined {
  try {
    return childrenOf(parseManifest(bytes, descriptor.mediaType)).map(({ digest }) => digest);
  } catch {
    return undefined;
  }
}
