import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { type Digest, digestAlgorithm } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Bucket } from "../bucket/bucket.ts";
import type { IdleTails } from "./idle-tails.ts";
import { type MultipartUpload, openMultipartUpload } from "./multipart-upload.ts";
import type { PartBuffers } from "./part-buffers.ts";
import { readPatiently } from "./read-patiently.ts";
import { formatRecord } from "../bucket/records.ts";
import { type WrittenBy, storageKeys } from "../bucket/storage-keys.ts";

/** The bytes of one blob on their way into the bucket, under an opaque key and invisible until somebody publishes that key. */
export type BlobWriter = {
  readonly receivedBytes: number;
  /** Takes a body in; what was taken before it broke off stays taken. After a DistributionError the writer is of no use. */
  append(body: Readable, signal: AbortSignal): Promise<void>;
  /**
   * Proves the digest and makes the object, unless `exists` says that its bytes are there already.
   * @returns the key of the bytes. @throws DistributionError DIGEST_INVALID; the writer is of no use after any error.
   */
  finish(digest: Digest, exists: () => Promise<string | undefined>, signal: AbortSignal): Promise<string>;
  abort(): Promise<void>;
};

const smallPartBytes = 8 * 1024 * 1024;
/** parts double after this many, so that 10 000 of them hold 150 GiB instead of 78 */
const smallParts = 1000;

/** a client that sends nothing for this long gives its buffer to one that does */
const bufferPatienceMs = 1_000;

export type BlobWriterDeps = { readonly bucket: Bucket; readonly buffers: PartBuffers; readonly tails: IdleTails };

export function openBlobWriter({ bucket, buffers, tails }: BlobWriterDeps, id: WrittenBy): BlobWriter {
  const key = storageKeys.bytes(id);
  const hash = createHash("sha256");
  const tail = tails.open(id);
  let multipart: MultipartUpload | undefined;
  let receivedBytes = 0;
  let partNumber = 1;

  const partLimit = () => Math.min(partNumber <= smallParts ? smallPartBytes : buffers.sizeBytes, buffers.sizeBytes);

  const openPart = async (signal: AbortSignal): Promise<{ buffer: Buffer; filled: number }> => {
    const buffer = await buffers.acquire(signal);
    try {
      return { buffer, filled: await tail.take(buffer, signal) };
    } catch (error) {
      buffers.release(buffer);
      throw error;
    }
  };

  const flush = async (buffer: Buffer, filled: number): Promise<void> => {
    try {
      multipart ??= await openMultipartUpload(bucket, key);
    } catch (error) {
      buffers.release(buffer);
      throw error;
    }
    partNumber += 1;
    await multipart.send(buffer.subarray(0, filled), () => buffers.release(buffer));
  };

  const keepTail = async (buffer: Buffer, filled: number): Promise<void> => {
    try {
      await tail.keep(buffer.subarray(0, filled));
    } finally {
      buffers.release(buffer);
    }
  };

  const append = async (body: Readable, signal: AbortSignal): Promise<void> => {
    let buffer: Buffer | undefined;
    let filled = 0;
    try {
      for await (const chunk of readPatiently(body, { patienceMs: bufferPatienceMs, signal })) {
        if (chunk === "waiting") {
          if (buffer === undefined || !buffers.wanted) continue;
          const idle = buffer;
          buffer = undefined;
          await keepTail(idle, filled);
          continue;
        }
        let rest = chunk;
        while (rest.length > 0) {
          if (buffer === undefined) {
            ({ buffer, filled } = await openPart(signal));
          }
          const count = rest.copy(buffer, filled, 0, Math.min(rest.length, partLimit() - filled));
          hash.update(rest.subarray(0, count));
          receivedBytes += count;
          filled += count;
          rest = rest.subarray(count);
          if (filled === partLimit()) {
            const full = buffer;
            buffer = undefined;
            await flush(full, filled);
          }
        }
      }
    } finally {
      if (buffer !== undefined) {
        await keepTail(buffer, filled);
      }
    }
  };

  const prove = async (digest: Digest, signal: AbortSignal): Promise<void> => {
    const found =
      digestAlgorithm(digest) === "sha256"
        ? `sha256:${hash.digest("hex")}`
        : await digestOfObject(bucket, key, digestAlgorithm(digest), signal);
    if (found !== digest) throw new DistributionError("DIGEST_INVALID", { expected: digest, found });
  };

  const store = async (signal: AbortSignal): Promise<void> => {
    const last = await tail.read(signal);
    if (multipart === undefined) {
      await bucket.put(key, last, signal);
      return;
    }
    if (last.length > 0) await multipart.send(last, () => {});
    await multipart.complete(signal);
    const stored = await bucket.head(key, signal);
    if (stored?.sizeBytes !== receivedBytes) {
      throw new DistributionError("UNAVAILABLE", { sentBytes: receivedBytes, storedBytes: stored?.sizeBytes ?? 0 });
    }
  };

  const discard = async (): Promise<void> => {
    const soon = AbortSignal.timeout(10_000);
    await bucket.delete(key, soon);
    await bucket.delete(storageKeys.unlinked(id), soon);
  };

  const abort = async (): Promise<void> => {
    await multipart?.abort();
    await tail.drop();
  };

  return {
    get receivedBytes() {
      return receivedBytes;
    },
    append,
    abort,
    finish: async (digest, exists, signal) => {
      // sha256 is known before anything is made; sha512 is rare and costs one more reading of the object
      const early = digestAlgorithm(digest) === "sha256";
      if (early) await prove(digest, signal);
      const known = early ? await exists() : undefined;
      if (known !== undefined) {
        await abort();
        return known;
      }
      await bucket.put(storageKeys.unlinked(id), formatRecord({ digest }), signal);
      await store(signal);
      await tail.drop();
      if (!early) {
        await prove(digest, signal).catch(async (error: unknown) => {
          await discard().catch(() => {});
          throw error;
        });
      }
      return key;
    },
  };
}

async function digestOfObject(bucket: Bucket, key: string, algorithm: string, signal: AbortSignal): Promise<string> {
  const body = await bucket.stream(key, undefined, signal);
  const hash = createHash(algorithm);
  for await (const chunk of (body ?? []) as AsyncIterable<Buffer>) hash.update(chunk);
  return `${algorithm}:${hash.digest("hex")}`;
}
