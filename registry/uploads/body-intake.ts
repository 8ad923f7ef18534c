import { DistributionError } from "../../oci/errors.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { abortMultipart, createMultipart } from "./multipart.ts";
import type { PartBuffers } from "./part-buffers.ts";
import { mayEndEarly, partSizeBytes, s3Limits } from "./part-plan.ts";
import { createPartSender } from "./part-sender.ts";
import type { TailCache } from "./tail-cache.ts";
import { dropBytes, freshBytesKey } from "./upload-bytes.ts";
import { type UploadSession, startHash } from "./upload-session.ts";
import { type Multipart, type StoredPart, claimParts, settleBody } from "./upload-state.ts";
import type { Change, UploadStates } from "./upload-states.ts";

/** Somebody else changed the state: what this request brought is of no use. */
export class LostUpload extends Error {
  override readonly name = "LostUpload";
}

export type IntakeDeps = {
  readonly bucket: Bucket;
  readonly states: UploadStates;
  readonly buffers: PartBuffers;
  readonly tails: TailCache;
  readonly instance: string;
};

/**
 * The bytes of one body on their way into an upload. They gather in a part's buffer; a full one is sent as a part, and what remains at
 * the end becomes the upload's tail. The state learns of the parts every now and then, and of everything at the end.
 */
export type BodyIntake = {
  take(chunk: Buffer, signal: AbortSignal): Promise<void>;
  /** Lends its memory to those who wait for some. */
  giveWay(): Promise<void>;
  /** Stores what was taken and writes it down. @throws LostUpload, and DistributionError when S3 fails; then `discard` it. */
  settle(): Promise<UploadSession>;
  /** Nothing of it stays, except for parts that the state names. */
  discard(): Promise<void>;
};

/** part numbers that a claim reserves; after a crash at most so many are skipped */
const claimedParts = 16;
/** while parts are sent, the state learns of them at least so often: what a crash may cost */
const writtenDownEveryMs = 2_000;
/** whoever fills a part for longer than this gives way to those who wait; whoever is slow as well, sooner */
const turnMs = 1_000;
const slowTurnMs = 100;
const slowBytesPerMs = 1_000;

/** S3 requests that go on after the client has left; the S3 client has its own time limits. */
const unhurried = new AbortController().signal;

type Part = { readonly buffer: Buffer; filled: number; readonly filledBefore: number; readonly sinceMs: number };
/** bytes after the last part: in memory, in an object of their own, or both */
type Rest = { readonly sizeBytes: number; readonly bytes?: Buffer | undefined; readonly key?: string };

export function openBodyIntake({ bucket, states, buffers, tails, instance }: IntakeDeps, session: UploadSession): BodyIntake {
  const sender = createPartSender(bucket);
  const { id, state: initial } = session.stored;
  let { stored } = session;
  let { hash } = session;
  let part: Part | undefined;
  let rest: Rest | undefined = initial.tail === undefined ? undefined : { ...initial.tail, bytes: session.tailBytes };
  let nextPart = initial.reservedParts + 1;
  let isClaimed = false;
  let countedParts = 0;
  const made = new Set<string>();

  const change = async (how: (parts: readonly StoredPart[]) => Change): Promise<void> => {
    const parts = sender.stored();
    const next = await states.swap(stored, how(parts.slice(countedParts)));
    if (next === undefined) throw new LostUpload();
    stored = next;
    countedParts = parts.length;
  };

  const store = async (bytes: Uint8Array): Promise<string> => {
    const key = freshBytesKey(id);
    made.add(key);
    await bucket.put(key, bytes, unhurried);
    return key;
  };

  const openPart = async (signal: AbortSignal): Promise<Part> => {
    const sizeBytes = Math.max(partSizeBytes(initial.plan, nextPart, buffers.memoryBytes), rest?.sizeBytes ?? 0);
    const buffer = await buffers.acquire(sizeBytes, signal);
    try {
      const bytes = rest?.bytes ?? (rest?.key === undefined ? Buffer.alloc(0) : (await bucket.get(rest.key, signal))?.bytes);
      if (bytes === undefined) throw new LostUpload();
      buffer.set(bytes);
      if (hash === undefined && stored.state.parts.length === 0 && nextPart === initial.reservedParts + 1) {
        hash = startHash(initial.algorithm);
        hash.hash.update(bytes);
      }
      tails.drop(rest?.bytes);
      rest = undefined;
      return { buffer, filled: bytes.length, filledBefore: bytes.length, sinceMs: Date.now() };
    } catch (error) {
      buffers.release(buffer);
      throw error;
    }
  };

  const claim = async (): Promise<Multipart> => {
    const { multipart: claimed, reservedParts, changedAtMs } = stored.state;
    const isFresh = nextPart <= reservedParts && Date.now() - changedAtMs < writtenDownEveryMs;
    if (isClaimed && isFresh && claimed !== undefined) return claimed;
    if (nextPart > s3Limits.mostParts) throw new DistributionError("SIZE_INVALID", { reason: "the blob is larger than its parts can be" });
    const multipart = claimed ?? (await createMultipart(bucket, freshBytesKey(id), unhurried));
    const upToPart = Math.min(nextPart + claimedParts - 1, s3Limits.mostParts);
    try {
      await change((parts) => (state, stamp) => claimParts(state, { instance, multipart, upToPart, stored: parts }, stamp));
    } catch (error) {
      if (claimed === undefined && error instanceof LostUpload) await abortMultipart(bucket, multipart, unhurried).catch(() => {});
      throw error;
    }
    isClaimed = true;
    return multipart;
  };

  const send = async (): Promise<void> => {
    const multipart = await claim();
    const { buffer, filled } = part!;
    part = undefined;
    nextPart += 1;
    await sender.send(multipart, nextPart - 1, buffer.subarray(0, filled), () => buffers.release(buffer));
  };

  /** From the part's buffer, which others may have then, to where it can wait. */
  const setAside = async (mustBeStored: boolean): Promise<void> => {
    if (part === undefined) return;
    const { buffer, filled } = part;
    part = undefined;
    const kept = tails.keep(buffer.subarray(0, filled));
    try {
      const key = kept === undefined || mustBeStored ? await store(buffer.subarray(0, filled)) : undefined;
      rest = { sizeBytes: filled, bytes: kept, ...(key === undefined ? {} : { key }) };
    } catch (error) {
      tails.drop(kept);
      // it knows bytes that are nowhere now
      hash = undefined;
      throw error;
    } finally {
      buffers.release(buffer);
    }
  };

  const storeRest = async (): Promise<void> => {
    const isLong = part !== undefined && stored.state.multipart !== undefined && mayEndEarly(initial.plan, nextPart, part.filled);
    if (isLong) return send();
    await setAside(true);
    if (rest?.bytes !== undefined && rest.key === undefined) rest = { ...rest, key: await store(rest.bytes) };
  };

  const dropRest = (): void => {
    tails.drop(rest?.bytes);
    rest = undefined;
  };
  const dropPart = (): void => {
    if (part !== undefined) buffers.release(part.buffer);
    part = undefined;
  };

  return {
    take: async (chunk, signal) => {
      if (part !== undefined && buffers.wanted && isTurnOver(part)) await setAside(false);
      for (let left = chunk; left.length > 0;) {
        part ??= await openPart(signal);
        const count = left.copy(part.buffer, part.filled);
        hash?.hash.update(left.subarray(0, count));
        part.filled += count;
        left = left.subarray(count);
        if (part.filled === part.buffer.length) await send();
      }
    },
    giveWay: async () => {
      if (buffers.wanted) await setAside(false);
    },
    settle: async () => {
      let failure: unknown;
      await storeRest().catch((error: unknown) => (failure = error));
      if (failure instanceof LostUpload) throw failure;
      const isAllStored = (await sender.settle()) && failure === undefined;
      if (!isAllStored) {
        // bytes are missing from here on: the client learns how far it came and sends them again
        hash = undefined;
        dropPart();
        if (rest?.key === undefined || rest.key !== initial.tail?.key) dropRest();
      }
      const body = { rest: tailOf(rest), lastSentPart: isClaimed && isAllStored ? nextPart - 1 : undefined };
      if (isClaimed || body.rest?.key !== initial.tail?.key) {
        await change((parts) => (state, stamp) => settleBody(state, { ...body, stored: parts }, stamp)).catch((error: unknown) => {
          // the state may name them all the same; they go with the upload
          if (!(error instanceof LostUpload)) made.clear();
          throw error;
        });
      }
      if (stored.state.tail?.key !== initial.tail?.key && initial.tail !== undefined) made.add(initial.tail.key);
      made.delete(stored.state.tail?.key ?? "");
      await dropBytes(bucket, made);
      const tailBytes = rest?.bytes;
      return { stored, ...(hash === undefined ? {} : { hash }), ...(tailBytes === undefined ? {} : { tailBytes }) };
    },
    discard: async () => {
      sender.stop();
      dropPart();
      dropRest();
      await sender.settle();
      await dropBytes(bucket, made);
    },
  };
}

function isTurnOver({ filled, filledBefore, sinceMs }: Part): boolean {
  const heldMs = Date.now() - sinceMs;
  return heldMs > turnMs || (heldMs > slowTurnMs && filled - filledBefore < heldMs * slowBytesPerMs);
}

function tailOf(rest: Rest | undefined): { key: string; sizeBytes: number } | undefined {
  return rest?.key === undefined ? undefined : { key: rest.key, sizeBytes: rest.sizeBytes };
}
