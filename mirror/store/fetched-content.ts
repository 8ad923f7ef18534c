import { randomBytes } from "node:crypto";
import { BoundedMap } from "../../config/bounded-map.ts";
import { type ContentWriter, openContentWriter, statBlob } from "../../containerd/content.ts";
import { getImage, putImage } from "../../containerd/images.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";
import type { Keeper } from "../pull/blob-fetches.ts";
import { childrenIn } from "../pull/children-in.ts";
import { fetchedLabels } from "../pull/fetched-record.ts";
import type { Arrivals } from "../unpack/arrivals.ts";
import type { MirrorLog } from "../unpack/unpack-pushed.ts";
import { type Intake, type UploadIntake, unlimitedIntake } from "./intake.ts";
import { imageNames, membership } from "./org-repository.ts";
import type { PushSession } from "./push-sessions.ts";
import { isLeaseGone } from "./storage-error.ts";
import { uploadRefPrefix } from "./upload-store.ts";
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
  /** Whether a manifest that is expected names the digest. What none names, the source of a build say, has no place on a host. */
  isExpected(repository: Repository, digest: Digest): boolean;
};

export type FetchedContentParts = ManifestStoreParts &
  Partial<Pick<Arrivals, "arrived">> & { readonly intake?: Intake; readonly log: MirrorLog };

type Expected = { readonly repository: Repository; readonly manifest: ManifestContent; readonly children: ReadonlySet<Digest> };

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
    for (const digest of one.children) {
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
          for (const one of expected.values()) if (one.repository === repository && one.children.has(digest)) complete(one);
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
      const children = childrenIn(manifest);
      // what is no manifest could not be stored anyway
      if (expected.has(key) || children === undefined) return;
      const one = { repository, manifest, children: new Set(children) };
      expected.set(key, one);
      complete(one);
    },
    isExpected: (repository, digest) => [...expected.values()].some((one) => one.repository === repository && one.children.has(digest)),
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

type Blob = {
  readonly repository: Repository;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly onStored: () => void;
  readonly refused: ((error: unknown) => void) | undefined;
};

async function openKeeper(parts: FetchedContentParts, blob: Blob): Promise<Keeper> {
  const signal = AbortSignal.timeout(storeTimeoutMs);
  const intake = await (parts.intake ?? unlimitedIntake).open(signal);
  try {
    const session = await parts.sessions.join(blob.repository, signal);
    const ref = `${uploadRefPrefix}${randomBytes(24).toString("base64url")}`;
    const writer = openContentWriter(session.ns, { ref }, new AbortController().signal);
    return createKeeper(parts, { ...blob, intake, session, writer });
  } catch (error) {
    intake[Symbol.dispose]();
    throw error;
  }
}

type Open = Blob & {
  readonly intake: UploadIntake;
  readonly session: PushSession & AsyncDisposable;
  readonly writer: ContentWriter;
};

function createKeeper({ log, org, arrived }: FetchedContentParts, open: Open): Keeper {
  const { repository, digest, intake, session, writer } = open;
  const ending = new AbortController();
  let isOver = false;

  async function release(): Promise<void> {
    if (isOver) return;
    isOver = true;
    ending.abort();
    try {
      await writer.abort();
    } catch (error) {
      // what is half-written goes with the lease
      session.spoiled();
      log.warn({ err: error, org, repository, digest }, "cannot abort the ingest of a blob");
    } finally {
      intake[Symbol.dispose]();
      await leave(session);
    }
  }

  /** A lease that cannot be deleted now expires. */
  async function leave(joined: AsyncDisposable): Promise<void> {
    try {
      await joined[Symbol.asyncDispose]();
    } catch (error) {
      log.warn({ err: error, org, repository }, "cannot end the lease of what was fetched");
    }
  }

  async function attempt(task: () => Promise<void> | undefined): Promise<void> {
    if (isOver) return;
    try {
      await task();
    } catch (error) {
      if (isLeaseGone(error)) session.retire();
      open.refused?.(error);
      if (!(error instanceof DistributionError)) log.warn({ err: error, org, repository, digest }, "cannot keep a blob that is fetched");
      await release();
    }
  }

  return {
    write: (chunk) => attempt(() => intake.pass(chunk.length, () => writer.write(chunk), ending.signal)),
    commit: (sizeBytes) =>
      attempt(async () => {
        await writer.commit({ digest, sizeBytes, labels: membership.blobLabels(repository) });
        session.wrote(digest);
        intake.stored(digest, sizeBytes);
        arrived?.(session, { mediaType: "application/octet-stream", digest, size: sizeBytes });
        await release();
        open.onStored();
      }),
    abort: release,
  };
}
