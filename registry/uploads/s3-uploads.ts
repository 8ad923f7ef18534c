import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import { createKeyedQueue } from "../../config/keyed-queue.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { UploadStatus, UploadStore } from "../../oci/store.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { storageKeys, uploadOfState } from "../bucket/storage-keys.ts";
import { type IntakeDeps, LostUpload, openBodyIntake } from "./body-intake.ts";
import { endAndClean } from "./end-upload.ts";
import { finishUpload } from "./finish-upload.ts";
import { type PartBuffers, createPartBuffers } from "./part-buffers.ts";
import { readPatiently } from "./read-patiently.ts";
import { createTailCache } from "./tail-cache.ts";
import { type S3UploadOptions, uploadDefaults } from "./upload-options.ts";
import { type UploadSession, createSessionCache, sessionOf } from "./upload-session.ts";
import { receivedBytes, startUpload } from "./upload-state.ts";
import { type StoredState, createUploadStates, lostAgainstOther } from "./upload-states.ts";

/** sessions whose hash goes on in memory; the bytes of others are read once more when they end */
const mostSessions = 2000;
const mostAborts = 5;
/** how long a client may be silent before it lends its memory to those who wait for some */
const patienceMs = 200;

export type S3Uploads = UploadStore & {
  /** the memory for parts on their way to S3 */
  readonly partMemory: Pick<PartBuffers, "lentBytes" | "memoryBytes">;
  /** Waits for what is under way. All uploads stay in the bucket, for this instance's next life or another instance. */
  close(): Promise<void>;
};

/**
 * Uploads whose state is in the bucket: any instance goes on with them. This process only remembers what spares it a request or a second
 * reading, true as long as the state's ETag is the one it wrote. Memory is bounded by `partMemoryBytes` plus `tailMemoryBytes`, however
 * many uploads there are.
 * S3 requests of a blob shorter than a part: 1 to start, 3 to append (2 when the client says where), 3 rounds to finish.
 */
export function createS3Uploads(bucket: Bucket, options: S3UploadOptions = {}): S3Uploads {
  const { partPlan: plan, partMemoryBytes, tailMemoryBytes, idleMs } = { ...uploadDefaults, ...options };
  const states = createUploadStates(bucket);
  const tails = createTailCache(tailMemoryBytes);
  const sessions = createSessionCache({ most: mostSessions, tails });
  const buffers = createPartBuffers(partMemoryBytes);
  const intakeDeps: IntakeDeps = { bucket, states, tails, buffers, instance: randomUUID() };
  const oneAtATime = createKeyedQueue();

  const read = async (repository: Repository, id: string, signal: AbortSignal): Promise<StoredState> => {
    const stored = uploadOfState(storageKeys.upload(id)) === undefined ? undefined : await states.read(id, signal);
    if (stored?.state.repository !== repository || stored.state.phase === "ended") throw new DistributionError("BLOB_UPLOAD_UNKNOWN");
    return stored;
  };
  /** What is remembered while `suffices` says so, else what the bucket says. */
  const open = async (repository: Repository, id: string, suffices: (known: UploadSession) => boolean, signal: AbortSignal) => {
    const known = sessions.take(id);
    if (known !== undefined && known.stored.state.repository === repository && suffices(known)) return known;
    try {
      const stored = await read(repository, id, signal);
      if (known?.stored.etag === stored.etag) return known;
      tails.drop(known?.tailBytes);
      return sessionOf(stored);
    } catch (error) {
      // another repository's request must not cost its owner what is remembered of it
      if (known !== undefined && known.stored.state.repository !== repository) sessions.keep(known);
      else tails.drop(known?.tailBytes);
      throw error;
    }
  };
  const explain = async (error: unknown, id: string, signal: AbortSignal): Promise<unknown> =>
    error instanceof LostUpload ? lostAgainstOther(states, id, signal) : error;

  const append = async (repository: Repository, id: string, offset: number | undefined, body: Readable, signal: AbortSignal) => {
    const session = await open(repository, id, ({ stored }) => offset === receivedBytes(stored.state), signal);
    const { state } = session.stored;
    if (state.phase !== "open") {
      tails.drop(session.tailBytes);
      throw new DistributionError("BLOB_UPLOAD_INVALID", { reason: "it is being finished" });
    }
    if (offset !== undefined && offset !== receivedBytes(state)) {
      sessions.keep(session);
      throw new DistributionError("RANGE_INVALID", { offset, receivedBytes: receivedBytes(state) });
    }
    const intake = openBodyIntake(intakeDeps, session);
    let failure: unknown;
    try {
      for await (const chunk of readPatiently(body, { patienceMs, signal })) {
        await (chunk === "waiting" ? intake.giveWay() : intake.take(chunk, signal));
      }
    } catch (error) {
      failure = error;
    }
    try {
      if (failure instanceof LostUpload) throw failure;
      // what was taken before the body broke off stays taken
      const settled = await intake.settle();
      sessions.keep(settled);
      if (failure === undefined) return statusOf(settled.stored);
    } catch (error) {
      await intake.discard();
      throw await explain(error, id, AbortSignal.timeout(10_000));
    }
    throw failure;
  };

  const finish: UploadStore["finish"] = async (repository, id, digest, signal) => {
    for (let isSecond = false; ; isSecond = true) {
      const session = await open(repository, id, () => !isSecond, signal);
      try {
        return await finishUpload({ bucket, states, idleMs }, session, digest, signal);
      } catch (error) {
        // what is remembered may be out of date: the second time it comes from the bucket
        if (!(error instanceof LostUpload) || isSecond) throw await explain(error, id, signal);
      } finally {
        tails.drop(session.tailBytes);
      }
    }
  };

  return {
    partMemory: buffers,
    start: async (repository, signal, algorithm = "sha256") => {
      const id = randomUUID().replaceAll("-", "");
      const stored = await states.create(id, (stamp) => startUpload({ repository, algorithm, plan }, stamp), signal);
      sessions.keep(sessionOf(stored));
      return statusOf(stored);
    },
    status: async (repository, id, signal) => statusOf(await read(repository, id, signal)),
    append: (repository, id, offset, body, signal) => oneAtATime(id, () => append(repository, id, offset, body, signal)),
    finish: (repository, id, digest, signal) => oneAtATime(id, () => finish(repository, id, digest, signal)),
    abort: async (repository, id, signal) => {
      for (let attempt = 1; attempt <= mostAborts; attempt += 1) {
        const stored = await read(repository, id, signal);
        // whoever finishes it is about to name its bytes
        if (stored.state.phase !== "open") throw new DistributionError("BLOB_UPLOAD_INVALID", { reason: "it is being finished" });
        // a body that comes in at the moment changes the state, too, but not as often
        if (await endAndClean({ bucket, states }, stored, signal)) return;
      }
      throw new DistributionError("UNAVAILABLE", { reason: "too many requests change this upload" });
    },
    close: async () => {
      await oneAtATime.idle();
      sessions.clear();
    },
  };
}

function statusOf({ id, state }: StoredState): UploadStatus {
  return { id, receivedBytes: receivedBytes(state) };
}
