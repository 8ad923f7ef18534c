import { listBlobs } from "../../containerd/content.ts";
import type { Digest } from "../../oci/digest.ts";
import { manifestLimitBytes, parseManifest } from "../../oci/manifest.ts";
import { type ReferrerDescriptor, referrerOf } from "../../oci/referrer.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ReferrerStore } from "../../oci/store.ts";
import type { StoreParts } from "./blob-store.ts";
import { membership, requireOwnRepository } from "./org-repository.ts";
import { readManifestBytes } from "./read-manifest.ts";
import { asDistributionErrors } from "./storage-error.ts";

const mostEntries = 100;
/** of one type among others, an answer may be short or empty and say where to go on */
const mostReadPerPage = 1000;

type Referrer = { readonly digest: Digest; readonly mediaType: string };
type Ask = Parameters<ReferrerStore["list"]>[2];

/** Referrers in the order of their digests. They are found by a label of their own, so that pushes of many at a time never meet. */
export function createReferrerStore({ org, ns }: StoreParts): ReferrerStore {
  async function find(repository: Repository, subject: Digest, signal: AbortSignal): Promise<Referrer[]> {
    const found: Referrer[] = [];
    for await (const stat of listBlobs(ns, [membership.referrersFilterOf(repository, subject)], signal)) {
      const mediaType = membership.manifestType(repository, stat);
      if (mediaType !== undefined) found.push({ digest: stat.digest, mediaType });
    }
    return found.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  }

  /** As many as fit into an index that is no longer than a manifest may be, and one at least. */
  async function readPage(found: readonly Referrer[], { limit, artifactType }: Ask & { readonly limit: number }, signal: AbortSignal) {
    const referrers: ReferrerDescriptor[] = [];
    let [readCount, sizeBytes] = [0, 0];
    for (const { digest, mediaType } of found) {
      if (referrers.length === limit || readCount === mostReadPerPage) break;
      const bytes = await readManifestBytes(ns, digest, signal);
      const referrer =
        bytes === undefined ? undefined : referrerOf(parseManifest(bytes, mediaType), { mediaType, digest, size: bytes.length });
      if (referrer !== undefined && (artifactType === undefined || referrer.artifactType === artifactType)) {
        sizeBytes += JSON.stringify(referrer).length;
        if (sizeBytes > manifestLimitBytes && referrers.length > 0) break;
        referrers.push(referrer);
      }
      readCount += 1;
    }
    return { referrers, readCount };
  }

  return {
    async list(repository, subject, ask, signal) {
      requireOwnRepository(org, repository);
      const limit = Math.min(ask.limit ?? mostEntries, mostEntries);
      if (limit === 0) return { referrers: [] };
      return asDistributionErrors(async () => {
        const all = await find(repository, subject, signal);
        const found = all.filter(({ digest }) => ask.last === undefined || digest > ask.last);
        const { referrers, readCount } = await readPage(found, { ...ask, limit }, signal);
        const next = found[readCount - 1]?.digest;
        return readCount < found.length && next !== undefined ? { referrers, next } : { referrers };
      });
    },
  };
}
