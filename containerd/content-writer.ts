import { Status } from "nice-grpc";
import { deferred } from "../config/deferred.ts";
import { type Digest, digestAlgorithm } from "../oci/digest.ts";
import { WriteAction } from "../proto/gen/services/content/v1/content_pb.ts";
import { type ContainerdNamespace, hasStatus, isAlreadyExists, isNotFound } from "./client.ts";
import { keepExisting } from "./content-lease.ts";
import { requireSameContent } from "./compare-content.ts";
import { ContentMismatchError, UnsupportedDigestError } from "./content-errors.ts";
import type { Labels } from "./labels.ts";
import { releaseMemory } from "./release-memory.ts";
import { createUnanswered } from "./unanswered.ts";
import { type WriteAnswer, type WriteRequest, type WriteStream, decodeAnswer } from "./write-stream.ts";

export type ContentWriterOptions = {
  /** names the ingest; a fresh one per attempt, as a failed one may stay locked */
  readonly ref: string;
  /** when known: present content then answers ALREADY_EXISTS at once, and is added to the lease */
  readonly expected?: Digest;
  readonly totalBytes?: number;
  /** The chunks belong to the writer: their memory is given back as soon as containerd has them, and nobody may look at them again. */
  readonly ownsChunks?: boolean;
  /** The stream has failed, also while nobody writes or waits. */
  readonly onFailed?: (error: Error) => void;
};

/** One open write stream into containerd's content store. */
export type ContentWriter = AsyncDisposable & {
  readonly ref: string;
  /** bytes taken so far */
  readonly offsetBytes: number;
  /**
   * Takes a chunk, which must not be changed afterwards. Undefined when the next may come at once, else a promise of that.
   * It rejects, as does everything after it, when the stream has failed.
   */
  write(chunk: Uint8Array): Promise<void> | undefined;
  /**
   * Content that exists already is a success: it is put under the lease, and the labels are added to it. containerd answers
   * ALREADY_EXISTS whatever was written, so the bytes are compared all the same, by the digest that it counted while it took them.
   * @throws ContentMismatchError when digest or size are not those of the bytes, UnsupportedDigestError when containerd knows nothing
   * of the algorithm; call `abort` then.
   */
  commit(content: { readonly digest: Digest; readonly sizeBytes: number; readonly labels: Labels }): Promise<void>;
  /** Ends the stream and deletes what was ingested. After `commit` succeeded it does nothing. */
  abort(): Promise<void>;
};

/** Larger messages are slower, smaller ones too (reference measurements: 256 KiB to 1 MiB, two to four in flight). */
const leastMessageBytes = 512 * 1024;
const mostMessageBytes = 1024 * 1024;
const mostInFlight = 3;
const closeTimeoutMs = 2_000;

/**
 * Opens the stream with the first message and keeps it open until `commit` or `abort`: opening one ref again makes containerd hash all it
 * has once more. Memory per writer is bounded by the messages in flight. Nothing is hashed here: containerd does, and it says what it
 * found. `signal` ends the stream; `abort` (or disposal) is still the owner's duty.
 */
export function openContentWriter(ns: ContainerdNamespace, options: ContentWriterOptions, signal: AbortSignal): ContentWriter {
  const { ref } = options;
  const unanswered = createUnanswered();
  const ended = deferred<void>();
  const onTheirWay: (readonly Uint8Array[])[] = [];
  let stream: WriteStream | undefined;
  let latest: Uint8Array | undefined;
  let sentBytes = 0;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let committed = false;
  let closing = false;

  const cancel = () => {
    unanswered.fail(signal.reason);
    stream?.cancel();
  };
  signal.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) cancel();

  function open(): WriteStream {
    return ns.openWrite({
      onAnswer(answer) {
        latest = answer;
        const taken = onTheirWay.shift() ?? [];
        if (options.ownsChunks === true) for (const chunk of taken) releaseMemory(chunk);
        unanswered.receive();
      },
      onEnd(error) {
        unanswered.fail(error ?? new Error(`Cannot write content "${ref}": containerd ended the stream`));
        signal.removeEventListener("abort", cancel);
        ended.resolve();
        if (error !== undefined && !closing) options.onFailed?.(error);
      },
    });
  }

  /** containerd takes ref, total and expected from the first message. */
  function send(request: WriteRequest, data: readonly Uint8Array[] = []): void {
    const first = stream === undefined;
    stream ??= open();
    unanswered.expect();
    onTheirWay.push(data);
    const known = first ? { ref, total: BigInt(options.totalBytes ?? 0), expected: options.expected ?? "" } : {};
    stream.send({ ...known, ...request }, data);
  }

  function flush(): void {
    if (pendingBytes === 0) return;
    if (stream === undefined) {
      send({ action: WriteAction.WRITE, offset: 0n }, pending);
    } else {
      unanswered.expect();
      onTheirWay.push(pending);
      stream.write(sentBytes, pending);
    }
    sentBytes += pendingBytes;
    pending = [];
    pendingBytes = 0;
  }

  /** A chunk that is longer than a message may be goes in several. */
  async function writeLong(chunk: Uint8Array): Promise<void> {
    for (let start = 0; start < chunk.length; start += mostMessageBytes) {
      await writer.write(chunk.subarray(start, start + mostMessageBytes));
    }
  }

  /** Ends our side first, so that containerd lets go of the ref by itself; cancels when it does not answer. */
  async function close(): Promise<void> {
    closing = true;
    if (stream === undefined) return signal.removeEventListener("abort", cancel);
    stream.end();
    const timer = setTimeout(() => stream?.cancel(), closeTimeoutMs);
    await ended.promise;
    clearTimeout(timer);
  }

  const writer: ContentWriter = {
    ref,
    get offsetBytes() {
      return sentBytes + pendingBytes;
    },
    write(chunk) {
      if (chunk.length > mostMessageBytes) return writeLong(chunk);
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes < leastMessageBytes) return undefined;
      if (unanswered.count < mostInFlight && !unanswered.failed) {
        flush();
        return undefined;
      }
      return unanswered.fewerThan(mostInFlight).then(flush);
    },
    async commit({ digest, sizeBytes, labels }) {
      if (writer.offsetBytes !== sizeBytes) throw new ContentMismatchError(`${sizeBytes} bytes`, `${writer.offsetBytes} bytes`);
      let counted: WriteAnswer | undefined;
      try {
        await unanswered.fewerThan(mostInFlight);
        flush();
        send({ action: WriteAction.STAT });
        await unanswered.fewerThan(1);
        counted = latest === undefined ? undefined : decodeAnswer(latest);
        // COMMIT with the default offset 0 would cut the content to nothing first
        send({ action: WriteAction.COMMIT, offset: BigInt(sentBytes), total: BigInt(sizeBytes), expected: digest, labels: { ...labels } });
        await unanswered.fewerThan(1);
      } catch (error) {
        if (hasStatus(error, Status.FAILED_PRECONDITION)) throw refusal(digest, counted?.digest, error.details);
        if (!isAlreadyExists(error) || counted === undefined) throw error;
        await requireSameContent(ns, digest, counted.digest as Digest, signal);
        await keepExisting(ns, digest, labels, signal);
      }
      committed = true;
      await close();
    },
    async abort() {
      if (committed) return;
      await close();
      if (stream !== undefined) await deleteIngest(ns, ref);
    },
    async [Symbol.asyncDispose]() {
      await writer.abort();
    },
  };
  return writer;
}

/** containerd before 2.3 has sha256 only, and says so by comparing that with whatever it was given. */
function refusal(digest: Digest, counted: string | undefined, details: string): Error {
  const found = /unexpected commit digest ([a-z0-9]+:[a-f0-9]+)/.exec(details)?.[1];
  if (found !== undefined && digestAlgorithm(found as Digest) !== digestAlgorithm(digest)) return new UnsupportedDigestError(digest);
  return new ContentMismatchError(digest, found ?? `${counted} (${details})`);
}

/** Not under the caller's signal: what is half-written must go, above all when the caller was cancelled. */
async function deleteIngest(ns: ContainerdNamespace, ref: string): Promise<void> {
  try {
    await ns.content.abort({ ref }, { signal: AbortSignal.timeout(10_000) });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
