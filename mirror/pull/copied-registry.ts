import type { Descriptor } from "../../oci/descriptor.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";
import type { FetchingStoreOptions } from "./fetching-store.ts";
import { type ReadableStore, firstOf } from "./readable-store.ts";

/** What this host has of another registry, under that registry's names. */
export type RegistryCopies = {
  /** By a tag: what it named when it was kept last. */
  manifest(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<ManifestContent | undefined>;
  /** Under the tag or digest by which it was asked for. What cannot be kept only passes through. */
  keep(repository: Repository, reference: ManifestReference, content: ManifestContent, signal: AbortSignal): Promise<void>;
  readonly blobs: ReadableStore["blobs"];
  /** keeps what is fetched and named by a manifest that was read */
  readonly fetched: NonNullable<FetchingStoreOptions["fetched"]>;
};

/**
 * Another registry, of which is kept what is read. Digests are answered from this host; tags only when the registry cannot be asked, as
 * they move: then a build whose base was read once needs no registry (invariant 13).
 */
export function copiedRegistry(copies: RegistryCopies, registry: ReadableStore): ReadableStore {
  async function read(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<ManifestContent | undefined> {
    if (reference.kind === "digest") {
      const here = await copies.manifest(repository, reference, signal);
      if (here !== undefined) return here;
    }
    const content = await registry.manifests.read(repository, reference, signal);
    if (content !== undefined) await copies.keep(repository, reference, content, signal);
    return content;
  }

  async function resolve(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<Descriptor | undefined> {
    if (reference.kind === "digest") return (await read(repository, reference, signal))?.descriptor;
    const descriptor = await registry.manifests.resolve(repository, reference, signal);
    if (descriptor === undefined) return undefined;
    // with the manifest at hand the tag can be answered later, too
    const content = await read(repository, { kind: "digest", digest: descriptor.digest }, signal);
    if (content !== undefined) await copies.keep(repository, reference, content, signal);
    return descriptor;
  }

  /** Instead of an error; rejects with it when there is nothing. */
  async function kept(error: unknown, repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<ManifestContent> {
    const isUnavailable = error instanceof DistributionError && error.code === "UNAVAILABLE";
    const found = isUnavailable && reference.kind === "tag" ? await copies.manifest(repository, reference, signal) : undefined;
    if (found === undefined) throw error;
    return found;
  }

  return {
    blobs: firstOf([{ blobs: copies.blobs, manifests: registry.manifests }, registry]).blobs,
    manifests: {
      async read(repository, reference, signal) {
        try {
          return await read(repository, reference, signal);
        } catch (error) {
          return await kept(error, repository, reference, signal);
        }
      },
      async resolve(repository, reference, signal) {
        try {
          return await resolve(repository, reference, signal);
        } catch (error) {
          return (await kept(error, repository, reference, signal)).descriptor;
        }
      },
    },
  };
}
