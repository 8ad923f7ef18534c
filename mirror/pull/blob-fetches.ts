import { createHash } from "node:crypto";
import { type Readable, addAbortSignal } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { orAborted } from "../../config/or-aborted.ts";
import { type Digest, digestAlgorithm, digestEncoded } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobContent, ByteRange } from "../../oci/store.ts";
import { clipRange } from "../store/blob-store.ts";
import { type ReadableStore, firstOf } from "./readable-store.ts";
import { createSourceOrder } from "./source-order.ts";
import type { Spool } from "./spool.ts";
import { type SpoolSpaceOptions, createSpoolSpace } from "./spool-space.ts";
import { WrongContentError, verifiedBody } from "./verified-body.ts";

export type NamedSource = { readonly name: string; readonly store: ReadableStore };

/** Where the bytes of a fetch go beside its readers. What fails there fails no reader: nothing of it rejects. */
export type Keeper = {
  write(chunk: Uint8Array): Promise<void>;
  commit(sizeBytes: number): Promise<void>;
  /** Lets go of all it holds; after `commit` it undoes nothing. */
  abort(): Promise<void>;
};

export type FetchRequest = {
  /** only those of one scope share a fetch: the org, and the registry that is asked */
  readonly scope: string;
  readonly repository: Repository;
  readonly digest: Digest;
  readonly sources: readonly NamedSource[];
  /** as the manifest says, where it is known: what has another size is not asked for */
  readonly sizeBytes?: number;
  /** Undefined when there is no room: then the bytes only pass through. */
  readonly keep?: (sizeBytes: number) => Promise<Keeper | undefined>;
};

/** Blobs that are fetched from elsewhere, each once however many want it. */
export type BlobFetches = AsyncDisposable & {
  /**
   * Where the disk is short, the bytes pass through for this reader alone. @throws DistributionError BLOB_UNKNOWN when no source has it,
   * UNAVAILABLE when one cannot tell.
   */
  read(request: FetchRequest, range: ByteRange | undefined, signal: AbortSignal): Promise<BlobContent>;
  /**
   * Resolves when all of it was received and is kept, or cannot be; nobody need read it. Ends the fetch with the signal when nobody else
   * wants it. @throws as `read`, and DISK_FULL.
   */
  receive(request: FetchRequest, signal: AbortSignal): Promise<void>;
  isFetching(request: FetchRequest): boolean;
};

type Fetch = {
  readonly sizeBytes: number;
  readonly spool: Spool;
  /** settles with the last byte */
  readonly whole: Promise<void>;
  /** settles when it is kept, or will not be; never rejects */
  readonly ended: Promise<void>;
};
type Entry = {
  readonly started: Promise<Fetch>;
  readonly stop: AbortController;
  wanted: number;
  /** all bytes are here and right; they may still be on their way to where they are kept */
  isWhole: boolean;
};

/** Before a source is asked again that sent nothing or could not be asked; a fetch is given up when it did so once more. */
const defaultPausesMs: readonly number[] = [200, 800, 2_000, 4_000];
/** A source that sends nothing for so long is left. */
const defaultStallMs = 10_000;

export type BlobFetchesOptions = SpoolSpaceOptions & { readonly pausesMs?: readonly number[]; readonly stallMs?: number };
type Patience = { readonly pausesMs: readonly number[]; readonly stallMs: number };
type Order = ReturnType<typeof createSourceOrder>;

/**
 * A source that breaks off is followed by the next, which sends the rest; the same one is asked again when there is no other. One that
 * sent wrong bytes is asked last for a while. A fetch ends when nobody wants it any more.
 */
export function createBlobFetches(options: BlobFetchesOptions): BlobFetches {
  const { pausesMs = defaultPausesMs, stallMs = defaultStallMs } = options;
  const spools = createSpoolSpace(options);
  const running = new Map<string, Entry>();
  const order = createSourceOrder();

  function join(request: FetchRequest): { readonly started: Promise<Fetch>; readonly leave: () => void } {
    const key = [request.scope, request.repository, request.digest].join(" ");
    const entry = running.get(key) ?? begin(request, key);
    entry.wanted += 1;
    let hasLeft = false;
    return {
      started: entry.started,
      leave() {
        if (!hasLeft) entry.wanted -= 1;
        hasLeft = true;
        if (entry.wanted > 0 || entry.isWhole) return;
        entry.stop.abort(new Error("nobody wants it any more"));
        forget(key, entry);
      },
    };
  }

  function forget(key: string, entry: Entry): void {
    if (running.get(key) === entry) running.delete(key);
  }

  function begin(request: FetchRequest, key: string): Entry {
    const stop = new AbortController();
    const started = start(request, stop.signal);
    const entry: Entry = { started, stop, wanted: 0, isWhole: false };
    running.set(key, entry);
    started
      .then(async ({ whole, ended }) => {
        // readers hear of a failure from the spool
        entry.isWhole = await whole.then(
          () => true,
          () => false,
        );
        await ended;
      })
      .catch(() => undefined)
      .finally(() => forget(key, entry));
    return entry;
  }

  async function start(request: FetchRequest, signal: AbortSignal): Promise<Fetch> {
    const found = await firstThatHas(order.of(request.digest, request.sources), request, signal);
    const { sizeBytes } = found.content;
    try {
      const spool = await spools.open(sizeBytes, signal);
      const kept: Kept = { keeper: undefined };
      const work = { request, spool, sizeBytes, signal, kept, order, patience: { pausesMs, stallMs } };
      const whole = receive(work, found);
      return { sizeBytes, spool, whole, ended: finish({ spool, whole, kept, sizeBytes, body: found.content.body }) };
    } catch (error) {
      found.content.body.destroy();
      throw error;
    }
  }

  /** For who cannot share a fetch, as there is no room for it. */
  async function passThrough(request: FetchRequest, range: ByteRange | undefined, signal: AbortSignal): Promise<BlobContent> {
    const sources = order.of(request.digest, request.sources);
    if (range !== undefined)
      return firstOf(sources.map(({ store }) => store)).blobs.read(request.repository, request.digest, range, signal);
    const { content } = await firstThatHas(sources, request, signal);
    return { sizeBytes: content.sizeBytes, body: verifiedBody(content.body, request.digest) };
  }

  return {
    async read(request, range, signal) {
      const { started, leave } = join(request);
      signal.addEventListener("abort", leave, { once: true });
      try {
        const { spool, sizeBytes } = await started;
        signal.throwIfAborted();
        const clipped = range === undefined ? undefined : clipRange(range, sizeBytes);
        const body = spool.read(clipped?.first ?? 0, clipped?.last ?? sizeBytes - 1);
        body.once("close", () => {
          signal.removeEventListener("abort", leave);
          leave();
        });
        return { sizeBytes, ...(clipped === undefined ? {} : { range: clipped }), body };
      } catch (error) {
        signal.removeEventListener("abort", leave);
        leave();
        if (isDiskFull(error)) return passThrough(request, range, signal);
        throw error;
      }
    },
    async receive(request, signal) {
      const { started, leave } = join(request);
      try {
        const { whole, ended } = await orAborted(started, signal);
        try {
          await orAborted(whole, signal);
        } catch (error) {
          signal.throwIfAborted();
          throw brokenOff(error);
        }
        await orAborted(ended, signal);
      } finally {
        leave();
      }
    },
    isFetching: ({ scope, repository, digest }) => running.has([scope, repository, digest].join(" ")),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(
        [...running.values()].map(async ({ started, stop }) => {
          stop.abort(new Error("the mirror stops"));
          await (
            await started
          ).ended;
        }),
      );
    },
  };
}

type Finish = Pick<Fetch, "sizeBytes" | "spool" | "whole"> & { readonly kept: Kept; readonly body: Readable };

/** Another one takes over when the bytes that came were wrong. */
type Kept = { keeper: Keeper | undefined };

async function finish({ sizeBytes, spool, whole, kept, body }: Finish): Promise<void> {
  try {
    await whole;
    spool.complete();
    await kept.keeper?.commit(sizeBytes);
  } catch (error) {
    // an error answer for who has heard nothing yet, a broken connection for the others
    spool.fail(brokenOff(error));
  } finally {
    body.destroy();
    await kept.keeper?.abort();
    await spool.close();
  }
}

const isDiskFull = (error: unknown): error is DistributionError => error instanceof DistributionError && error.code === "DISK_FULL";

const brokenOff = (cause: unknown): DistributionError =>
  isDiskFull(cause) ? cause : new DistributionError("UNAVAILABLE", { reason: "its sources broke off or sent other bytes" }, { cause });

type Found = { readonly source: NamedSource; readonly content: BlobContent };
type Work = {
  readonly request: FetchRequest;
  readonly spool: Spool;
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
  readonly kept: Kept;
  readonly order: Order;
  readonly patience: Patience;
};

/** Takes all bytes; when they were wrong, once more from others, as long as no reader got any of them. */
async function receive(work: Work, first: Found): Promise<void> {
  const { request, spool, sizeBytes, signal, kept } = work;
  let found: Found | undefined = first;
  for (let left = request.sources.length - 1; ; left -= 1) {
    try {
      kept.keeper = await request.keep?.(sizeBytes);
      await receiveOnce(work, found);
      return;
    } catch (error) {
      if (signal.aborted || left <= 0 || !(error instanceof WrongContentError) || spool.hasGiven) throw error;
      await kept.keeper?.abort();
      spool.restart();
      found = undefined;
    }
  }
}

/** From as many sources as it needs. */
async function receiveOnce(work: Work, first: Found | undefined): Promise<void> {
  const { request, spool, sizeBytes, signal, kept, order, patience } = work;
  const hash = createHash(digestAlgorithm(request.digest));
  const contributed = new Set<string>();
  let found = first;
  let fruitless = 0;
  while (spool.writtenBytes < sizeBytes || found !== undefined) {
    const before = spool.writtenBytes;
    let failure: unknown;
    try {
      const next: Found = found ?? (await nextAt(work, order.of(request.digest, request.sources, contributed)));
      found = undefined;
      contributed.add(next.source.name);
      try {
        for await (const chunk of restOf(next.content, before, patience.stallMs)) {
          signal.throwIfAborted();
          if (spool.writtenBytes + chunk.length > sizeBytes) throw new WrongContentError(`Cannot fetch blob: more than ${sizeBytes} bytes`);
          hash.update(chunk);
          await Promise.all([spool.append(chunk), kept.keeper?.write(chunk)]);
        }
      } finally {
        next.content.body.destroy();
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof WrongContentError) order.lied(request.digest, contributed);
      if (error instanceof WrongContentError || isDiskFull(error)) throw error;
      failure = error;
    }
    if (spool.writtenBytes === sizeBytes) break;
    if (spool.writtenBytes > before) fruitless = 0;
    else {
      const pauseMs = patience.pausesMs[fruitless];
      if (pauseMs === undefined) {
        throw new DistributionError("UNAVAILABLE", { digest: request.digest, reason: "its sources send nothing" }, { cause: failure });
      }
      fruitless += 1;
      await sleep(pauseMs, undefined, { signal });
    }
  }
  const foundHash = hash.digest("hex");
  if (foundHash === digestEncoded(request.digest)) return;
  order.lied(request.digest, contributed);
  throw new WrongContentError(`Cannot fetch blob: ${[...contributed].join(" and ")} sent "${foundHash}", expected "${request.digest}"`);
}

/** What a source without ranges sends again is skipped. */
async function* restOf(content: BlobContent, offset: number, stallMs: number): AsyncGenerator<Buffer> {
  let skipBytes = content.range === undefined ? offset : 0;
  const stalled = (): void => void content.body.destroy(new Error(`Cannot fetch blob: its source sent nothing for ${stallMs} ms`));
  let timer = setTimeout(stalled, stallMs);
  try {
    for await (const chunk of content.body as AsyncIterable<Buffer>) {
      // the time that the chunk takes to be written is not the source's
      clearTimeout(timer);
      const rest = chunk.subarray(Math.min(skipBytes, chunk.length));
      skipBytes -= chunk.length - rest.length;
      if (rest.length > 0) yield rest;
      timer = setTimeout(stalled, stallMs);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Asks for what is missing. */
function nextAt({ request, spool, sizeBytes, signal }: Work, sources: readonly NamedSource[]): Promise<Found> {
  const offset = spool.writtenBytes;
  return firstThatHas(sources, request, signal, { offset, sizeBytes });
}

async function firstThatHas(
  sources: readonly NamedSource[],
  { repository, digest, sizeBytes }: FetchRequest,
  signal: AbortSignal,
  rest?: { readonly offset: number; readonly sizeBytes: number },
): Promise<Found> {
  const range = rest === undefined || rest.offset === 0 ? undefined : { first: rest.offset };
  const expectedBytes = rest?.sizeBytes ?? sizeBytes;
  let failure: unknown;
  for (const source of sources) {
    try {
      const content = await source.store.blobs.read(repository, digest, range, signal);
      addAbortSignal(signal, content.body);
      const begins = content.range?.first ?? range?.first;
      if (begins === range?.first && (expectedBytes === undefined || content.sizeBytes === expectedBytes)) return { source, content };
      content.body.destroy();
      failure ??= new DistributionError("UNAVAILABLE", { digest, reason: `${source.name} has another blob or sends another part of it` });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof DistributionError && error.code === "BLOB_UNKNOWN")) failure ??= error;
    }
  }
  throw failure ?? new DistributionError("BLOB_UNKNOWN", { digest });
}
