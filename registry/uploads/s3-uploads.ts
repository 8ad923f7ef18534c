import { randomUUID } from "node:crypto";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { UploadStatus, UploadStore } from "../../oci/store.ts";
import { type BlobWriter, openBlobWriter } from "./blob-writer.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { type IdleTails, createIdleTails } from "./idle-tails.ts";
import { type PartBuffers, createPartBuffers } from "./part-buffers.ts";
import type { OpenIds } from "./open-ids.ts";
import { linkBlob, publishDigest, readDigestRecord } from "../blobs/s3-blobs.ts";
import { type WrittenBy, storageKeys } from "../bucket/storage-keys.ts";

type Session = {
  readonly id: string;
  readonly repository: Repository;
  readonly bytes: WrittenBy;
  readonly writer: BlobWriter;
  /** the end of the last request that touched it: one at a time */
  turn: Promise<unknown>;
  usedAtMs: number;
};

export type S3UploadOptions = {
  readonly partBuffers?: number;
  readonly partBufferBytes?: number;
  readonly idleTailLimitBytes?: number;
  readonly idleTimeoutMs?: number;
};

/** Under whose name this process writes, and what of it is being written at the moment. */
export type S3UploadDeps = { readonly bucket: Bucket; readonly writer: string; readonly openIds: OpenIds };

export type S3Uploads = UploadStore & {
  /** Ends all sessions; nothing of them stays in the bucket. */
  close(): Promise<void>;
};

/**
 * Upload sessions over a bucket. They live in this process: another instance does not know them, and a crash ends them; what it leaves
 * in the bucket, `sweepLeftovers` removes. Memory is bounded by `partBuffers` times `partBufferBytes` plus `idleTailLimitBytes`.
 */
export function createS3Uploads({ bucket, writer: writerName, openIds }: S3UploadDeps, options: S3UploadOptions = {}): S3Uploads {
  const { idleTimeoutMs = 60 * 60 * 1000 } = options;
  const buffers: PartBuffers = createPartBuffers({
    count: options.partBuffers ?? 16,
    sizeBytes: options.partBufferBytes ?? 16 * 1024 * 1024,
  });
  const tails: IdleTails = createIdleTails({ bucket, memoryLimitBytes: options.idleTailLimitBytes ?? 64 * 1024 * 1024 });
  const sessions = new Map<string, Session>();

  const find = (repository: Repository, id: string): Session => {
    const session = sessions.get(id);
    if (session === undefined || session.repository !== repository) throw new DistributionError("BLOB_UPLOAD_UNKNOWN");
    session.usedAtMs = Date.now();
    return session;
  };
  const end = async (session: Session): Promise<void> => {
    sessions.delete(session.id);
    try {
      await session.writer.abort();
    } finally {
      openIds.close(session.bytes.id);
    }
  };
  const expire = async (): Promise<void> => {
    const latestMs = Date.now() - idleTimeoutMs;
    await Promise.all([...sessions.values()].filter(({ usedAtMs }) => usedAtMs < latestMs).map(end));
  };
  const timer = setInterval(() => void expire(), Math.min(idleTimeoutMs, 60_000)).unref();

  return {
    start: async (repository) => {
      const id = randomUUID();
      // the id under which it writes is nobody's business
      const bytes = { writer: writerName, id: openIds.open() };
      const writer = openBlobWriter({ bucket, buffers, tails }, bytes);
      sessions.set(id, { id, repository, bytes, writer, turn: Promise.resolve(), usedAtMs: Date.now() });
      return { id, receivedBytes: 0 };
    },
    status: async (repository, id) => statusOf(find(repository, id)),
    append: async (repository, id, offset, body, signal) => {
      const session = find(repository, id);
      return inTurn(session, async () => {
        const { receivedBytes } = find(repository, id).writer;
        if (offset !== undefined && offset !== receivedBytes) throw new DistributionError("RANGE_INVALID", { offset, receivedBytes });
        try {
          await session.writer.append(body, signal);
        } catch (error) {
          // the storage failed: these bytes are gone, and with them the session
          if (error instanceof DistributionError) await end(session);
          throw error;
        }
        session.usedAtMs = Date.now();
        return statusOf(session);
      });
    },
    finish: async (repository, id, digest, signal) => {
      const session = find(repository, id);
      return inTurn(session, async () => {
        find(repository, id);
        sessions.delete(id);
        try {
          const published = await publish(bucket, session, digest, signal);
          openIds.close(session.bytes.id);
          return published;
        } catch (error) {
          await end(session);
          throw error;
        }
      });
    },
    abort: async (repository, id) => end(find(repository, id)),
    close: async () => {
      clearInterval(timer);
      await Promise.all([...sessions.values()].map(end));
    },
  };
}

async function publish(bucket: Bucket, { repository, bytes, writer }: Session, digest: Digest, signal: AbortSignal) {
  const sizeBytes = writer.receivedBytes;
  const existing = async () => (await readDigestRecord(bucket, digest, signal))?.key;
  const key = await writer.finish(digest, existing, signal);
  const record = await publishDigest(bucket, digest, { key, sizeBytes }, signal);
  const made = key === storageKeys.bytes(bytes);
  await Promise.all([linkBlob(bucket, repository, digest, record, signal), ...(made ? [settleBytes(bucket, bytes, record.key)] : [])]);
  return { mediaType: "application/octet-stream", digest, size: sizeBytes };
}

/** Ours are named now, or somebody else was first with the same bytes and ours are of no use. What fails here, the sweep does. */
async function settleBytes(bucket: Bucket, bytes: WrittenBy, namedKey: string): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  const key = storageKeys.bytes(bytes);
  try {
    if (namedKey !== key) await bucket.delete(key, signal);
    await bucket.delete(storageKeys.unlinked(bytes), signal);
  } catch {}
}

/** Requests for one session wait for each other: a client that reconnects may overtake the end of its own broken request. */
function inTurn<T>(session: Session, act: () => Promise<T>): Promise<T> {
  const result = session.turn.then(act);
  session.turn = result.catch(() => {});
  return result;
}

function statusOf({ id, writer }: Session): UploadStatus {
  return { id, receivedBytes: writer.receivedBytes };
}
