import { randomBytes } from "node:crypto";
import { type ContentWriter, openContentWriter } from "../../containerd/content.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { Keeper } from "../pull/blob-fetches.ts";
import type { Arrivals } from "../unpack/arrivals.ts";
import type { MirrorLog } from "../unpack/unpack-pushed.ts";
import type { StoreParts } from "./blob-store.ts";
import { type Intake, type UploadIntake, unlimitedIntake } from "./intake.ts";
import { membership } from "./org-repository.ts";
import type { PushSession } from "./push-sessions.ts";
import { isLeaseGone } from "./storage-error.ts";
import { uploadRefPrefix } from "./upload-store.ts";

export type KeepParts = Pick<StoreParts, "org" | "sessions"> &
  Partial<Pick<Arrivals, "arrived">> & { readonly intake?: Intake; readonly log: MirrorLog };

const openTimeoutMs = 10 * 60_000;

export type KeptBlob = {
  readonly repository: Repository;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly onStored: () => void;
  readonly refused: ((error: unknown) => void) | undefined;
};

/** Takes a blob into containerd as it comes, under the lease of its repository. @throws DistributionError when there is no room for it. */
export async function openKeeper(parts: KeepParts, blob: KeptBlob): Promise<Keeper> {
  const signal = AbortSignal.timeout(openTimeoutMs);
  const intake = await (parts.intake ?? unlimitedIntake).open(signal);
  try {
    const session = await parts.sessions.join(blob.repository, signal);
    const ref = `${uploadRefPrefix}${randomBytes(24).toString("base64url")}`;
    const writer = openContentWriter(session.ns, { ref }, new AbortController().signal);
    return createKeeper(parts, { ...blob, intake, session, writer });
  } catch (error) {
    intake[Symbol.dispose]();
    throw error;
  }
}

type Open = KeptBlob & {
  readonly intake: UploadIntake;
  readonly session: PushSession & AsyncDisposable;
  readonly writer: ContentWriter;
};

function createKeeper({ log, org, arrived }: KeepParts, open: Open): Keeper {
  const { repository, digest, intake, session, writer } = open;
  const ending = new AbortController();
  let isOver = false;

  async function release(): Promise<void> {
    if (isOver) return;
    isOver = true;
    ending.abort();
    try {
      await writer.abort();
    } catch (error) {
      // what is half-written goes with the lease
      session.spoiled();
      log.warn({ err: error, org, repository, digest }, "cannot abort the ingest of a blob");
    } finally {
      intake[Symbol.dispose]();
      await leave(session);
    }
  }

  /** A lease that cannot be deleted now expires. */
  async function leave(joined: AsyncDisposable): Promise<void> {
    try {
      await joined[Symbol.asyncDispose]();
    } catch (error) {
      log.warn({ err: error, org, repository }, "cannot end the lease of what was fetched");
    }
  }

  async function attempt(task: () => Promise<void> | undefined): Promise<void> {
    if (isOver) return;
    try {
      await task();
    } catch (error) {
      if (isLeaseGone(error)) session.retire();
      open.refused?.(error);
      if (!(error instanceof DistributionError)) log.warn({ err: error, org, repository, digest }, "cannot keep a blob that is fetched");
      await release();
    }
  }

  return {
    write: (chunk) => attempt(() => intake.pass(chunk.length, () => writer.write(chunk), ending.signal)),
    commit: (sizeBytes) =>
      attempt(async () => {
        await writer.commit({ digest, sizeBytes, labels: membership.blobLabels(repository) });
        session.wrote(digest);
        intake.stored(digest, sizeBytes);
        arrived?.(session, { mediaType: "application/octet-stream", digest, size: sizeBytes });
        // before the lease may end: it waits for what nothing else holds yet
        open.onStored();
        await release();
      }),
    abort: release,
  };
}
