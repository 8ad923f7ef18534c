import { setTimeout as sleep } from "node:timers/promises";
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
  /** how long a busy host is asked again before upstream is; 10 s */
  readonly busyPatienceMs?: number;
};

/** One that takes connections lives; with many pullers at its heels it may be slow. */
const headersTimeoutMs = 5_000;
const brokenMs = 30_000;
/** Upstream is asked for what no host has. A host that has it and is busy with others has its next turn soon. */
const defaultBusyPatienceMs = 10_000;
const busyPauseMs = { least: 100, most: 300 };

type Question<T> = (client: ReturnType<PeersOptions["clientOf"]>, signal: AbortSignal) => Promise<T | undefined>;

export function createPeers(options: PeersOptions): Peers {
  const { ownHost, book, announcer, clientOf, log, busyPatienceMs = defaultBusyPatienceMs } = options;
  const parents = createParents();
  const avoidedUntilMs = new Map<string, number>();
  const isAvoided = ({ url }: Peer): boolean => (avoidedUntilMs.get(url) ?? 0) > Date.now();

  function avoid({ host, url }: Peer, error: unknown): void {
    avoidedUntilMs.set(url, Date.now() + brokenMs);
    log.warn({ err: error, host, url }, "another host's mirror fails: it is not asked for a while");
  }

  /** Asks the hosts that have one of the manifests; again, as long as those that are left are only busy. */
  async function ask<T>(repository: Repository, images: readonly Digest[], signal: AbortSignal, question: Question<T>) {
    if (images.length === 0) return undefined;
    for (const patientUntilMs = Date.now() + busyPatienceMs; ;) {
      const found = await askOnce(repository, images, signal, question);
      if (found !== "busy") return found;
      if (Date.now() > patientUntilMs) return undefined;
      await sleep(busyPauseMs.least + Math.random() * (busyPauseMs.most - busyPauseMs.least), undefined, { signal });
    }
  }

  async function askOnce<T>(repository: Repository, images: readonly Digest[], signal: AbortSignal, question: Question<T>) {
    let isBusy = false;
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
        if (isBusyAnswer(error)) isBusy = true;
        else avoid(peer, error);
      }
    }
    return isBusy ? "busy" : undefined;
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

const isBusyAnswer = (error: unknown): boolean => error instanceof UpstreamError && error.status === 429;

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
