import { randomBytes } from "node:crypto";
import { BoundedMap } from "../../config/bounded-map.ts";
import { type ContentWriter, openContentWriter } from "../../containerd/content.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { UploadStatus, UploadStore } from "../../oci/store.ts";
import type { Arrivals } from "../unpack/arrivals.ts";
import type { StoreParts } from "./blob-store.ts";
import { type Intake, type UploadIntake, unlimitedIntake } from "./intake.ts";
import { membership, requireOwnRepository } from "./org-repository.ts";
import type { PushSession } from "./push-sessions.ts";
import { BrokenBody, receiveBody } from "./receive-body.ts";
import { asDigestRefusal, asDistributionErrors, isLeaseGone } from "./storage-error.ts";

export const uploadRefPrefix = "upload-";
const defaultIdleMs = 15 * 60_000;
/** A client whose body broke off resumes soon or never: its builder is on this host. */
const defaultBrokenIdleMs = 30_000;
const mostLost = 256;

type Upload = {
  readonly id: string;
  readonly repository: Repository;
  readonly session: PushSession & AsyncDisposable;
  readonly writer: ContentWriter;
  readonly intake: UploadIntake;
  /** set while a request works on it: one at a time */
  busy: boolean;
  /** containerd's: nothing can be added to it */
  failure: Error | undefined;
  /** ends the body that is being received */
  stopBody: (error: Error) => void;
  timer: NodeJS.Timeout | undefined;
};

/** How long an upload waits for its next request, and for one after a body that broke off. */
export type UploadTimes = { readonly idleMs?: number; readonly brokenIdleMs?: number };

export type UploadParts = Pick<StoreParts, "org" | "sessions"> & Partial<Pick<Arrivals, "arrived">> & { readonly intake?: Intake };

/**
 * Upload sessions of one org. Each holds one write stream into containerd open from its start to its end, under the push's lease
 * and with a ref of its own. A storage error ends it at once, also between two requests; idleness after a while, and sooner when a body
 * broke off.
 */
export function createUploadStore(
  { org, sessions, arrived, intake = unlimitedIntake }: UploadParts,
  { idleMs = defaultIdleMs, brokenIdleMs = defaultBrokenIdleMs }: UploadTimes = {},
): UploadStore & AsyncDisposable {
  const uploads = new Map<string, Upload>();
  /** ended by containerd's end: their clients hear it once, for a failure that passes */
  const lost = new BoundedMap<string, Repository>(mostLost);

  function find(repository: Repository, id: string): Upload {
    requireOwnRepository(org, repository);
    const upload = uploads.get(id);
    if (upload?.repository === repository) return upload;
    if (lost.get(id) !== repository) throw new DistributionError("BLOB_UPLOAD_UNKNOWN");
    lost.delete(id);
    throw new DistributionError("UNAVAILABLE", { storage: "containerd", reason: "it ended in the middle of this upload: begin another" });
  }

  async function discard(upload: Upload): Promise<void> {
    uploads.delete(upload.id);
    clearTimeout(upload.timer);
    try {
      await upload.writer.abort();
    } catch (error) {
      upload.session.spoiled();
      throw error;
    } finally {
      upload.intake[Symbol.dispose]();
      await upload.session[Symbol.asyncDispose]();
    }
  }

  function watchIdle(upload: Upload, afterMs = idleMs): void {
    // what cannot be deleted now goes with the lease
    upload.timer = setTimeout(() => void discard(upload).catch(() => undefined), afterMs).unref();
  }

  function fail(upload: Upload, failure: Error): void {
    upload.failure = failure;
    // a request that is at it hears of it, and discards the upload
    if (upload.busy) return upload.stopBody(failure);
    if (!uploads.has(upload.id)) return;
    lost.set(upload.id, upload.repository);
    void discard(upload).catch(() => undefined);
  }

  /** Runs one request's work alone. When the body breaks off the client may resume; whatever else fails, the upload is gone after. */
  async function alone<T>(upload: Upload, task: () => Promise<T>): Promise<T> {
    if (upload.busy) throw new DistributionError("RANGE_INVALID", { reason: "another request is writing to this upload" });
    upload.busy = true;
    clearTimeout(upload.timer);
    let afterMs = idleMs;
    try {
      return await task();
    } catch (error) {
      if (error instanceof BrokenBody && upload.failure === undefined) {
        afterMs = brokenIdleMs;
        throw error.cause;
      }
      const reason = error instanceof BrokenBody ? upload.failure! : (error as Error);
      if (isLeaseGone(reason)) upload.session.retire();
      // the client hears why it failed; what cannot be deleted now goes with the lease
      await discard(upload).catch(() => undefined);
      return await asDistributionErrors(() => Promise.reject(reason));
    } finally {
      upload.busy = false;
      upload.stopBody = () => undefined;
      if (uploads.has(upload.id)) watchIdle(upload, afterMs);
    }
  }

  return {
    async start(repository, signal) {
      requireOwnRepository(org, repository);
      const admitted = await intake.open(signal);
      try {
        const session = await asDistributionErrors(() => sessions.join(repository, signal));
        const id = randomBytes(24).toString("base64url");
        // the stream outlives the request that begins it
        const writing = { ref: `${uploadRefPrefix}${id}`, ownsChunks: true, onFailed: (error: Error) => fail(upload, error) };
        const writer = openContentWriter(session.ns, writing, new AbortController().signal);
        const upload: Upload = {
          id,
          repository,
          session,
          writer,
          intake: admitted,
          busy: false,
          failure: undefined,
          stopBody: () => undefined,
          timer: undefined,
        };
        uploads.set(id, upload);
        watchIdle(upload);
        return { id, receivedBytes: 0 };
      } catch (error) {
        admitted[Symbol.dispose]();
        throw error;
      }
    },
    async status(repository, id) {
      return statusOf(find(repository, id));
    },
    async append(repository, id, offset, body, signal) {
      const upload = find(repository, id);
      if (offset !== undefined && offset !== upload.writer.offsetBytes) {
        throw new DistributionError("RANGE_INVALID", { found: offset, expected: upload.writer.offsetBytes });
      }
      return alone(upload, async () => {
        upload.stopBody = (error) => void body.destroy(error);
        try {
          await receiveBody(body, (chunk) => upload.intake.pass(chunk.length, () => upload.writer.write(chunk), signal), signal);
        } finally {
          upload.intake.paused();
        }
        return statusOf(upload);
      });
    },
    async finish(repository, id, digest, signal) {
      const upload = find(repository, id);
      return alone(upload, async () => {
        const descriptor = await commit(upload, digest);
        signal.throwIfAborted();
        uploads.delete(id);
        upload.session.wrote(digest);
        upload.intake.stored(digest, descriptor.size);
        upload.intake[Symbol.dispose]();
        arrived?.(upload.session, descriptor);
        await upload.session[Symbol.asyncDispose]();
        return descriptor;
      });
    },
    async abort(repository, id) {
      const upload = find(repository, id);
      await asDistributionErrors(() => discard(upload));
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([...uploads.values()].map(discard));
    },
  };
}

const statusOf = ({ id, writer }: Upload): UploadStatus => ({ id, receivedBytes: writer.offsetBytes });

async function commit({ repository, writer }: Upload, digest: Digest): Promise<Descriptor> {
  const sizeBytes = writer.offsetBytes;
  try {
    await writer.commit({ digest, sizeBytes, labels: membership.blobLabels(repository) });
  } catch (error) {
    throw asDigestRefusal(error, { digest });
  }
  return { mediaType: "application/octet-stream", digest, size: sizeBytes };
}
