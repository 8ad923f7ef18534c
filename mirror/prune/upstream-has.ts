import { concurrently } from "../../config/concurrently.ts";
import type { DistributionClient } from "../../oci/distribution-client.ts";
import { parseTag } from "../../oci/repository.ts";
import type { ImageFact } from "./facts.ts";

export type ManifestLookup = Pick<DistributionClient, "resolveManifest">;

const atOnce = 4;

/**
 * Names of those images that upstream has as they are here: under the same tag, or by digest. An upstream that does not answer has
 * none for now.
 */
export async function namesUpstream(images: readonly ImageFact[], upstream: ManifestLookup, signal: AbortSignal): Promise<Set<string>> {
  const found = new Set<string>();
  await concurrently(images, atOnce, async ({ name, repository, tag, digest }) => {
    const reference = tag === undefined ? ({ kind: "digest", digest } as const) : ({ kind: "tag", tag: parseTag(tag) } as const);
    const answer = await upstream.resolveManifest(repository, reference, signal).catch(() => {
      signal.throwIfAborted();
      return undefined;
    });
    if (answer?.digest === digest) found.add(name);
  });
  return found;
}
