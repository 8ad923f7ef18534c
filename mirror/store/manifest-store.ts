import { listBlobs, statBlob } from "../../containerd/content.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ManifestStore } from "../../oci/store.ts";
import { createImageRecords } from "./image-records.ts";
import { membership, requireOwnRepository } from "./org-repository.ts";
import { readManifestBytes } from "./read-manifest.ts";
import { asDistributionErrors } from "./storage-error.ts";
import { type ManifestStoreParts, writeManifest } from "./write-manifest.ts";

/** Manifests and tags of one org's repositories: content in containerd, and one image record per tag. */
export function createManifestStore(parts: ManifestStoreParts): ManifestStore {
  const { org, ns, imageHost, sessions } = parts;
  const recordsOf = (repository: Repository) => createImageRecords(ns, imageHost, repository);

  async function resolve(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<Descriptor | undefined> {
    const digest = reference.kind === "digest" ? reference.digest : (await recordsOf(repository).tagged(reference.tag, signal))?.digest;
    if (digest === undefined) return undefined;
    const stat = await statBlob(ns, digest, signal);
    const mediaType = stat === undefined ? undefined : membership.manifestType(repository, stat);
    return stat === undefined || mediaType === undefined ? undefined : { mediaType, digest, size: stat.sizeBytes };
  }

  return {
    async resolve(repository, reference, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        const found = await resolve(repository, reference, signal);
        if (found === undefined || reference.kind === "tag") return found;
        // a pusher that finds a child manifest does not send it
        return sessions.within(repository, signal, async (session) => {
          await session.pin(found.digest, signal);
          return resolve(repository, reference, signal);
        });
      });
    },
    async read(repository, reference, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        const descriptor = await resolve(repository, reference, signal);
        const bytes = descriptor === undefined ? undefined : await readManifestBytes(ns, descriptor.digest, signal);
        return descriptor === undefined || bytes === undefined ? undefined : { descriptor, bytes };
      });
    },
    async write(repository, reference, mediaType, bytes, signal, { tags = [], ...rule } = {}) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(() => writeManifest(parts, { repository, reference, mediaType, bytes, tags, ...rule }, signal));
    },
    async tags(repository, { limit, last }, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        const tags = await recordsOf(repository).tags(signal);
        if (tags.length === 0 && !(await hasAny(parts, repository, signal))) return undefined;
        return tags.filter((tag) => last === undefined || tag > last).slice(0, limit);
      });
    },
  };
}

async function hasAny({ ns }: ManifestStoreParts, repository: Repository, signal: AbortSignal): Promise<boolean> {
  for await (const _blob of listBlobs(ns, [membership.filterOf(repository)], signal)) return true;
  return false;
}
