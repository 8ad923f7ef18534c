import { createHash } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Status } from "nice-grpc";
import { type Digest, digestAlgorithm } from "../oci/digest.ts";
import { WriteAction, type WriteContentRequestSchema } from "../proto/gen/services/content/v1/content_pb.ts";
import { type ContainerdNamespace, hasStatus, isAlreadyExists, isNotFound } from "./client.ts";
import { keepExisting } from "./content-lease.ts";
import type { Labels } from "./labels.ts";

type WriteRequest = MessageInitShape<typeof WriteContentRequestSchema>;

export type ContentWriterOptions = {
  /** names the ingest; a fresh one per attempt, as a failed one may stay locked */
  readonly ref: string;
  /** when known: present content then answers ALREADY_EXISTS at once, and is added to the lease */
  readonly expected?: Digest;
  readonly totalBytes?: number;
};

/** The bytes are not those that the digest or the size name, or nobody can tell. */
export class ContentMismatchError extends Error {
  override readonly name = "ContentMismatchError";
  readonly found: string;
  constructor(wanted: string, found: string) {
    super(`Cannot commit content: found ${found}, expected ${wanted}`);
    this.found = found;
  }
}

/** One open write stream into containerd's content store. */
export type ContentWriter = AsyncDisposable & {
  readonly ref: string;
  /** bytes taken so far */
  readonly offsetBytes: number;
  /** Resolves when the next chunk may come; the chunk must not be changed afterwards. */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Content that exists already is a success: it is put under the lease, and the labels are added to it. The bytes are compared
   * here all the same, as containerd answers ALREADY_EXISTS whatever was written.
   * @throws ContentMismatchError when digest or size are not those of the bytes; call `abort` then.
   */
  commit(content: { readonly digest: Digest; readonly sizeBytes: number; readonly labels: Labels }): Promise<void>;
  /** Ends the stream and deletes what was ingested. After `commit` succeeded it does nothing. */
  abort(): Promise<void>;
};

/** Larger messages are slower, smaller ones too (reference measurements: 256 KiB to 1 MiB, two to four in flight). */
const leastMessageBytes = 256 * 1024;
const mostMessageBytes = 1024 * 1024;
const mostInFlight = 4;

/**
 * Opens the stream and keeps it open until `commit` or `abort`: opening one ref again makes containerd hash all it has once more.
 * Memory per writer is bounded by the messages in flight. `signal` ends the stream; `abort` (or disposal) is still the owner's duty.
 */
export function openContentWriter(ns: ContainerdNamespace, options: ContentWriterOptions, signal: AbortSignal): ContentWriter {
  const { ref } = options;
  const known = { total: BigInt(options.totalBytes ?? 0), expected: options.expected ?? "" };
  const ended = new AbortController();
  const requests = createRequestQueue();
  const acks = createAcks();
  const hash = createHash("sha256");
  let offsetBytes = 0;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let messages = 0;
  let committed = false;

  const stream = readResponses();

  async function readResponses(): Promise<void> {
    try {
      const responses = ns.content.write(requests.drain(), { signal: AbortSignal.any([signal, ended.signal]) });
      for await (const _answer of responses) acks.receive();
      acks.fail(new Error(`Cannot write content "${ref}": containerd ended the stream`));
    } catch (error) {
      acks.fail(error);
    } finally {
      requests.end();
    }
  }

  /** Every message names ref, total and expected: containerd takes them from the first and compares the later ones. */
  async function send(request: WriteRequest): Promise<void> {
    await acks.fewerThan(mostInFlight);
    messages += 1;
    acks.expect();
    requests.push({ ref, ...known, ...request });
  }

  async function flush(): Promise<void> {
    if (pendingBytes === 0) return;
    const data = pending.length === 1 ? pending[0]! : Buffer.concat(pending, pendingBytes);
    pending = [];
    pendingBytes = 0;
    for (let start = 0; start < data.length; start += mostMessageBytes) {
      const part = data.subarray(start, start + mostMessageBytes);
      await send({ action: WriteAction.WRITE, offset: BigInt(offsetBytes), data: part });
      offsetBytes += part.length;
    }
  }

  function requireSame(digest: Digest, sizeBytes: number): void {
    const takenBytes = offsetBytes + pendingBytes;
    if (takenBytes !== sizeBytes) throw new ContentMismatchError(`${sizeBytes} bytes`, `${takenBytes} bytes`);
    if (digestAlgorithm(digest) !== "sha256") return;
    const found = `sha256:${hash.digest("hex")}`;
    if (found !== digest) throw new ContentMismatchError(digest, found);
  }

  /** Ends our side first, so that containerd lets go of the ref by itself; cancels when it does not answer. */
  async function close(): Promise<void> {
    requests.end();
    const timer = setTimeout(() => ended.abort(), 2_000);
    await stream;
    clearTimeout(timer);
  }

  return {
    ref,
    get offsetBytes() {
      return offsetBytes + pendingBytes;
    },
    async write(chunk) {
      hash.update(chunk);
      pending.push(chunk);
      pendingBytes += chunk.length;
      if (pendingBytes >= leastMessageBytes) await flush();
    },
    async commit({ digest, sizeBytes, labels }) {
      requireSame(digest, sizeBytes);
      try {
        await flush();
        // COMMIT with the default offset 0 would cut the content to nothing first
        await send({
          action: WriteAction.COMMIT,
          offset: BigInt(offsetBytes),
          total: BigInt(sizeBytes),
          expected: digest,
          labels: { ...labels },
        });
        await acks.fewerThan(1);
      } catch (error) {
        if (hasStatus(error, Status.FAILED_PRECONDITION)) throw new ContentMismatchError(digest, `other bytes (${error.details})`);
        if (!isAlreadyExists(error)) throw error;
        if (digestAlgorithm(digest) !== "sha256")
          throw new ContentMismatchError(digest, "content of that digest, and bytes not compared to it");
        await keepExisting(ns, digest, labels, signal);
      }
      committed = true;
      await close();
    },
    async abort() {
      if (committed) return;
      await close();
      if (messages > 0) await deleteIngest(ns, ref);
    },
    async [Symbol.asyncDispose]() {
      await this.abort();
    },
  };
}

/** Not under the caller's signal: what is half-written must go, above all when the caller was cancelled. */
async function deleteIngest(ns: ContainerdNamespace, ref: string): Promise<void> {
  try {
    await ns.content.abort({ ref }, { signal: AbortSignal.timeout(10_000) });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function createRequestQueue() {
  const queue: WriteRequest[] = [];
  let done = false;
  let wake = (): void => undefined;
  return {
    push(request: WriteRequest) {
      queue.push(request);
      wake();
    },
    end() {
      done = true;
      wake();
    },
    async *drain(): AsyncGenerator<WriteRequest> {
      while (!done) {
        const next = queue.shift();
        if (next !== undefined) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

/** containerd answers each message in order; the count of unanswered ones is the back-pressure. */
function createAcks() {
  let unanswered = 0;
  let failure: { readonly error: unknown } | undefined;
  let wake = (): void => undefined;
  return {
    expect() {
      unanswered += 1;
    },
    receive() {
      unanswered -= 1;
      wake();
    },
    fail(error: unknown) {
      failure ??= { error };
      wake();
    },
    async fewerThan(limit: number): Promise<void> {
      while (failure === undefined && unanswered >= limit) await new Promise<void>((resolve) => (wake = resolve));
      if (failure !== undefined) throw failure.error;
    },
  };
}
