import { removeLabels, statBlob } from "../../containerd/content.ts";
import type { Digest } from "../../oci/digest.ts";
import { type Manifest, parseManifest } from "../../oci/manifest.ts";
import type { Repository } from "../../oci/repository.ts";
import type { DeleteStore } from "../../oci/store.ts";
import type { StoreParts } from "./blob-store.ts";
import { type ImageRecords, createImageRecords } from "./image-records.ts";
import { membership, requireOwnRepository } from "./org-repository.ts";
import { readManifestBytes } from "./read-manifest.ts";
import type { RepositoryTurns } from "./repository-turns.ts";
import { asDistributionErrors } from "./storage-error.ts";

export type DeletionParts = StoreParts & { readonly imageHost: string; readonly turns: RepositoryTurns };

/**
 * Takes content out of one repository: its labels and its records. The bytes go with the next collection, unless another repository, an
 * image of this one, a machine or a push still has them.
 */
export function createDeletes(parts: DeletionParts): DeleteStore {
  const { org, ns, imageHost, turns } = parts;

  function change<T>(repository: Repository, task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    requireOwnRepository(org, repository);
    return asDistributionErrors(() => turns.change(repository, task));
  }

  async function deleteManifest(repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const records = createImageRecords(ns, imageHost, repository);
    const manifest = await readMember(parts, repository, digest, signal);
    if (manifest === undefined) return false;
    turns.deleting();
    if (manifest !== "damaged" && manifest.kind === "index") await keepChildren(parts, records, repository, manifest, signal);
    await records.remove(digest, signal);
    await removeLabels(ns, digest, membership.keys(repository), signal);
    return true;
  }

  async function deleteBlob(repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const stat = await statBlob(ns, digest, signal);
    if (stat === undefined || !membership.includes(repository, stat)) return false;
    // it is one as a manifest, which has records
    if (membership.manifestType(repository, stat) !== undefined) return false;
    turns.deleting();
    await removeLabels(ns, digest, membership.keys(repository), signal);
    return true;
  }

  return {
    blob: async (repository, digest) => change(repository, (signal) => deleteBlob(repository, digest, signal)),
    manifest: async (repository, digest) => change(repository, (signal) => deleteManifest(repository, digest, signal)),
    tag: async (repository, tag) => change(repository, (signal) => createImageRecords(ns, imageHost, repository).untag(tag, signal)),
  };
}

/** Undefined when the repository has no such manifest. A damaged one can be deleted, too. */
async function readMember(
  { ns }: DeletionParts,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<Manifest | "damaged" | undefined> {
  const stat = await statBlob(ns, digest, signal);
  const mediaType = stat === undefined ? undefined : membership.manifestType(repository, stat);
  const bytes = mediaType === undefined ? undefined : await readManifestBytes(ns, digest, signal);
  if (mediaType === undefined || bytes === undefined) return undefined;
  try {
    return parseManifest(bytes, mediaType);
  } catch {
    return "damaged";
  }
}

/** The images of an index were held by it alone, and are not deleted with it. */
async function keepChildren(
  { ns }: DeletionParts,
  records: ImageRecords,
  repository: Repository,
  index: Manifest & { readonly kind: "index" },
  signal: AbortSignal,
): Promise<void> {
  for (const { digest } of index.manifests) {
    const stat = await statBlob(ns, digest, signal);
    const mediaType = stat === undefined ? undefined : membership.manifestType(repository, stat);
    if (stat !== undefined && mediaType !== undefined) await records.keep({ mediaType, digest, size: stat.sizeBytes }, signal);
  }
}
