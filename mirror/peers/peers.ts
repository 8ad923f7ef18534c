import type { DistributionClient } from "../../oci/distribution-client.ts";
import { UpstreamError } from "../../oci/distribution-client.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobContent, ByteRange, ManifestContent } from "../../oci/store.ts";
import type { ReadableStore } from "../pull/readable-store.ts";
import { verifiedBody } from "../pull/verified-body.ts";
import type { MirrorLog } from "../unpack/unpack-pushed.ts";
import type { Announcer } from "./announcer.ts";
import { choosePeers } from "./choose-peers.ts";
import type { LocationBook } from "./location-book.ts";
import type { Peer } from "./location-client.ts";
import { createParents } from "./parents.ts";

/** The mirrors of other hosts, as one source to pull from. */
export type Peers = Pick<Announcer, "has"> & {
  /** Manifests by digest and blobs. It never fails: what no peer sends is absent here. */
  readonly source: ReadableStore;
  /** Somebody read this manifest: what is beneath it is soon asked for. */
  readonly saw: (repository: Repository, manifest: ManifestContent) => void;
};

export type PeersOptions = {
  readonly ownHost: string;
  readonly book: LocationBook;
  readonly announcer: Pick<Announcer, "has">;
  readonly clientOf: (url: string) => Pick<DistributionClient, "readBlob" | "readManifest">;
  readonly log: MirrorLog;
};

const headersTimeoutMs = 2_000;
const brokenMs = 30_000;
const busyMs = 1_000;

type Question<T> = (client: ReturnType<PeersOptions["clientOf"]>, signal: AbortSignal) => Promise<T | undefined>;

export function createPeers({ ownHost, book, announcer, clientOf, log }: PeersOptions): Peers {
  const parents = createParents();
  const avoidedUntilMs = new Map<string, number>();
  const isAvoided = ({ url }: Peer): boolean => (avoidedUntilMs.get(url) ?? 0) > Date.now();

  function avoid({ host, url }: Peer, error: unknown): void {
    const isBusy = error instanceof UpstreamError && error.status === 429;
    avoidedUntilMs.set(url, Date.now() + (isBusy ? busyMs : brokenMs));
    if (!isBusy) log.warn({ err: error, host, url }, "another host's mirror fails: it is not asked for a while");
  }

  /** Asks the hosts that have one of the manifests. */
  async function ask<T>(repository: Repository, images: readonly Digest[], signal: AbortSignal, question: Question<T>) {
    if (images.length === 0) return undefined;
    const found = await Promise.all(images.map((image) => book.find(repository, image)));
    signal.throwIfAborted();
    const isUnknown = found.every((peers) => peers === undefined);
    const candidates = isUnknown ? book.known() : found.flatMap((peers) => peers ?? []);
    for (const peer of choosePeers(candidates, ownHost, isAvoided)) {
      try {
        const answer = await question(clientOf(peer.url), signal);
        if (answer !== undefined) return { answer, peer };
        for (const image of images) book.remove(repository, image, peer.host);
      } catch (error) {
        signal.throwIfAborted();
        if (isRefusedRange(error)) return undefined;
        avoid(peer, error);
      }
    }
    return undefined;
  }

  async function readBlob(repository: Repository, digest: Digest, range: ByteRange | undefined, signal: AbortSignal): Promise<BlobContent> {
    const found = await ask(repository, parents.of(repository, digest), signal, (client, limited) =>
      untilHeaders(limited, (withTimeout) => client.readBlob(repository, digest, range, withTimeout)),
    );
    if (found === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
    const { answer: content, peer } = found;
    const body = content.range === undefined ? verifiedBody(content.body, digest) : content.body;
    body.on("error", (error) => {
      if (!signal.aborted) avoid(peer, error);
    });
    return { ...content, body };
  }

  const readManifest: ReadableStore["manifests"]["read"] = async (repository, reference, signal) => {
    // only upstream knows what a tag means now
    if (reference.kind === "tag") return undefined;
    const images = [reference.digest, ...parents.of(repository, reference.digest)];
    const found = await ask(repository, images, signal, (client, limited) =>
      untilHeaders(limited, (withTimeout) => client.readManifest(repository, reference, withTimeout)),
    );
    return found?.answer;
  };

  return {
    source: {
      blobs: {
        stat: async () => undefined,
        read: readBlob,
      },
      manifests: {
        read: readManifest,
        resolve: async (repository, reference, signal) => (await readManifest(repository, reference, signal))?.descriptor,
      },
    },
    saw: parents.saw,
    has: announcer.has,
  };
}

const isRefusedRange = (error: unknown): boolean => error instanceof UpstreamError && error.status === 416;

/** The timeout is over with the answer: a body takes as long as it takes. */
async function untilHeaders<T>(signal: AbortSignal, question: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`no answer within ${headersTimeoutMs} ms`)), headersTimeoutMs);
  try {
    return await question(AbortSignal.any([signal, late.signal]));
  } finally {
    clearTimeout(timer);
  }
}
