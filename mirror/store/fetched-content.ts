import { BoundedMap } from "../../config/bounded-map.ts";
import { statBlob } from "../../containerd/content.ts";
import { getImage, putImage } from "../../containerd/images.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";
import type { Keeper } from "../pull/blob-fetches.ts";
import { type NamedSizes, namedSize, sizesIn } from "../pull/children-in.ts";
import { createUses, fetchedLabels } from "../pull/fetched-record.ts";
import { type KeepParts, openKeeper } from "./keep-blob.ts";
import { imageNames, membership } from "./org-repository.ts";
import { type ManifestStoreParts, writeManifest } from "./write-manifest.ts";

/** What was fetched from elsewhere for the org's own repositories, on its way to be content like any other. */
export type FetchedContent = AsyncDisposable & {
  /** Takes in a blob under the lease of its repository. Undefined when there is no room for it; `refused` hears why it is not kept. */
  keep(repository: Repository, digest: Digest, sizeBytes: number, refused?: (error: unknown) => void): Promise<Keeper | undefined>;
  /**
   * Stores a manifest whose children are all here, unpacks it and records it: under the tags, or by its digest, which says then that it
   * can be fetched again. @throws DistributionError as a push.
   */
  store(repository: Repository, manifest: ManifestContent, tags: readonly Tag[], signal: AbortSignal): Promise<void>;
  /** A manifest that upstream has: it is stored, unpacked and gets its record as soon as all beneath it is here. */
  expect(repository: Repository, manifest: ManifestContent): void;
  /** As a manifest that is expected says. Undefined when none names it: the source of a build, say, which has no place on a host. */
  sizeOf(repository: Repository, digest: Digest): number | undefined;
  /** Somebody took what was fetched, which is a reason to keep it for longer. */
  used(repository: Repository, digest: Digest): void;
};

export type FetchedContentParts = ManifestStoreParts & KeepParts;

type Expected = NamedSizes & { readonly manifest: ManifestContent };

/** Manifests whose blobs nobody asked for make room for others. */
const mostExpected = 32;
const storeTimeoutMs = 10 * 60_000;

/**
 * A manifest comes last, as in a push: a pusher that hears of one that is here sends nothing beneath it. What no manifest takes over
 * goes with the lease.
 */
export function createFetchedContent(parts: FetchedContentParts): FetchedContent {
  const expected = new BoundedMap<string, Expected>(mostExpected);
  const stopping = new AbortController();
  const uses = createUses(parts);
  let turn: Promise<void> = Promise.resolve();

  function complete(one: Expected): void {
    turn = turn
      .then(() => storeWhenWhole(one))
      .catch((error: unknown) => {
        if (stopping.signal.aborted) return;
        parts.log.warn({ err: error, org: parts.org, repository: one.repository }, "cannot keep an image that was fetched");
      });
  }

  async function storeWhenWhole(one: Expected): Promise<void> {
    const { repository, manifest } = one;
    const key = keyOf(repository, manifest.descriptor.digest);
    if (expected.get(key) !== one) return;
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(storeTimeoutMs)]);
    for (const digest of one.sizes.keys()) {
      const stat = await statBlob(parts.ns, digest, signal);
      if (stat === undefined || !membership.includes(repository, stat)) return;
    }
    expected.delete(key);
    await storeFetched(parts, one, signal);
  }

  return {
    async keep(repository, digest, sizeBytes, refused) {
      try {
        const onStored = (): void => {
          for (const one of expected.values()) if (one.repository === repository && one.sizes.has(digest)) complete(one);
        };
        return await openKeeper(parts, { repository, digest, sizeBytes, onStored, refused });
      } catch (error) {
        refused?.(error);
        parts.log.warn({ err: error, org: parts.org, repository, digest }, "cannot keep a blob that is fetched: it passes through");
        return undefined;
      }
    },
    store: (repository, manifest, tags, signal) => writeFetched(parts, { repository, manifest, tags }, signal),
    expect(repository, manifest) {
      const key = keyOf(repository, manifest.descriptor.digest);
      const named = sizesIn(repository, manifest);
      // what is no manifest could not be stored anyway
      if (expected.has(key) || named === undefined) return;
      const one = { ...named, manifest };
      expected.set(key, one);
      complete(one);
    },
    sizeOf: (repository, digest) => namedSize(expected.values(), repository, digest),
    used: (repository, digest) => uses.noteUse(imageNames.byDigest(parts.imageHost, repository, digest)),
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await turn;
    },
  };
}

const keyOf = (repository: Repository, digest: Digest): string => `${repository}@${digest}`;

async function storeFetched(parts: FetchedContentParts, { repository, manifest }: Expected, signal: AbortSignal): Promise<void> {
  const before = await statBlob(parts.ns, manifest.descriptor.digest, signal);
  if (before !== undefined && membership.manifestType(repository, before) !== undefined) return;
  await writeFetched(parts, { repository, manifest, tags: [] }, signal);
}

type Fetched = Pick<Expected, "repository" | "manifest"> & { readonly tags: readonly Tag[] };

/** As a push by digest; then its record says that it can be fetched again. */
async function writeFetched(parts: FetchedContentParts, { repository, manifest, tags }: Fetched, signal: AbortSignal): Promise<void> {
  const { descriptor, bytes } = manifest;
  const name = imageNames.byDigest(parts.imageHost, repository, descriptor.digest);
  const push = {
    repository,
    reference: { kind: "digest", digest: descriptor.digest } as const,
    mediaType: descriptor.mediaType,
    bytes,
    tags,
  };
  await writeManifest(parts, push, signal);
  await parts.turns.change(repository, async (changing) => {
    const record = await getImage(parts.ns, name, changing);
    // a tag has come to name it
    if (record === undefined) return;
    await putImage(parts.ns, { ...record, labels: fetchedLabels("upstream", Date.now()) }, changing);
  });
}
