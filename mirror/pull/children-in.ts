import type { Descriptor } from "../../oci/descriptor.ts";
import { childrenOf, parseManifest } from "../../oci/manifest.ts";
import type { ManifestContent } from "../../oci/store.ts";

/** What a manifest that came from elsewhere names; undefined when it is none. */
export function childrenIn({ descriptor, bytes }: ManifestContent): readonly Descriptor[] | undefined {
  try {
    return childrenOf(parseManifest(bytes, descriptor.mediaType));
  } catch {
    return undefined;
  }
}
