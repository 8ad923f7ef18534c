import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { publishDigest } from "../blobs/digest-records.ts";
import { linkBlob } from "../blobs/links.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { hashObject } from "../bucket/hash-object.ts";
import { LostUpload } from "./body-intake.ts";
import { endAndClean } from "./end-upload.ts";
import { joinParts } from "./join-parts.ts";
import { dropBytes, freshBytesKey } from "./upload-bytes.ts";
import type { UploadSession } from "./upload-session.ts";
import { type UploadState, beginFinish, receivedBytes } from "./upload-state.ts";
import type { StoredState, UploadStates } from "./upload-states.ts";

export type FinishDeps = { readonly bucket: Bucket; readonly states: UploadStates; readonly idleMs: number };

/**
 * Makes an upload's bytes a blob of its repository. Every step may be done again, by this or another instance, at the same time or after
 * a crash: whoever finds a step done goes on with the next.
 * S3 requests, one after another: state, (last part, completion, size,) digest, then link and removal of the state side by side.
 * @throws LostUpload when the session is not what the bucket says; DistributionError DIGEST_INVALID, and the upload is no more.
 */
export async function finishUpload(deps: FinishDeps, session: UploadSession, digest: Digest, signal: AbortSignal): Promise<Descriptor> {
  const { bucket, states, idleMs } = deps;
  const proven = digestOfSession(session, digest);
  if (proven !== undefined && proven !== digest) throw await refuse(deps, session.stored, digest, proven, signal);

  const finishing = await enterFinish(states, session.stored, digest);
  const { state } = finishing;
  const sizeBytes = receivedBytes(state);
  const key = await storeBytes(deps, session, finishing, signal);
  if (proven === undefined) {
    const found = await hashObject(bucket, key, digestAlgorithm(digest), signal);
    if (found === undefined) throw new DistributionError("BLOB_UPLOAD_UNKNOWN");
    if (found.digest !== digest) throw await refuse(deps, finishing, digest, found.digest, signal);
  }
  // the sweep takes bytes away from whoever was about to name them for so long
  if (Date.now() - state.changedAtMs > idleMs / 2)
    throw new DistributionError("UNAVAILABLE", { reason: "the upload took too long to end" });
  const record = await publishDigest(bucket, digest, { key, sizeBytes }, signal);
  await Promise.all([
    linkBlob(bucket, state.repository, digest, record, signal),
    states.remove(finishing.id, signal),
    dropBytes(bucket, leftOver(state, key, record.key)),
  ]);
  return { mediaType: "application/octet-stream", digest, size: sizeBytes };
}

/** Known before anything is made, when all bytes came by here and were hashed by the digest's own algorithm. */
function digestOfSession({ hash }: UploadSession, digest: Digest): Digest | undefined {
  if (hash === undefined || hash.algorithm !== digestAlgorithm(digest)) return undefined;
  return `${hash.algorithm}:${hash.hash.copy().digest("hex")}` as Digest;
}

/** Nobody appends to it or aborts it from here on. Another instance may have begun with the same digest: help it. */
async function enterFinish(states: UploadStates, stored: StoredState, digest: Digest): Promise<StoredState> {
  if (stored.state.phase === "finishing" && stored.state.digest !== digest) {
    throw new DistributionError("BLOB_UPLOAD_INVALID", {
      reason: "it is being finished with another digest",
      expected: stored.state.digest,
    });
  }
  const finishing = await states.swap(stored, (state, stamp) => beginFinish(state, digest, stamp));
  if (finishing === undefined) throw new LostUpload();
  return finishing;
}

/** @returns the key under which the whole blob is stored from now on */
async function storeBytes({ bucket, states }: FinishDeps, session: UploadSession, { id, state }: StoredState, signal: AbortSignal) {
  if (state.parts.length > 0 && state.multipart !== undefined) {
    await joinParts({ bucket, states }, id, { ...state, multipart: state.multipart, tailBytes: session.tailBytes }, signal);
    return state.multipart.key;
  }
  if (state.tail !== undefined) return state.tail.key;
  const key = freshBytesKey(id);
  await bucket.put(key, new Uint8Array(), signal);
  return key;
}

/** Bytes that nothing names once the digest is published: the tail that became a part, and ours when the digest had some already. */
function leftOver(state: UploadState, ours: string, published: string): string[] {
  const tail = state.tail !== undefined && state.tail.key !== ours ? [state.tail.key] : [];
  return ours === published ? tail : [...tail, ours];
}

async function refuse(deps: FinishDeps, stored: StoredState, expected: Digest, found: Digest, signal: AbortSignal) {
  if (!(await endAndClean(deps, stored, signal))) throw new LostUpload();
  return new DistributionError("DIGEST_INVALID", { expected, found });
}
