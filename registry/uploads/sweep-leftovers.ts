import { AbortMultipartUploadCommand, ListMultipartUploadsCommand, type MultipartUpload } from "@aws-sdk/client-s3";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { type Digest, isDigest } from "../../oci/digest.ts";
import type { Bucket } from "../bucket/bucket.ts";
import type { OpenIds } from "./open-ids.ts";
import { parseRecord } from "../bucket/records.ts";
import { readDigestRecord } from "../blobs/s3-blobs.ts";
import { isAbsent, toStorageError } from "../bucket/s3-errors.ts";
import { storageKeys, writtenBy } from "../bucket/storage-keys.ts";

export type SweepDeps = {
  readonly bucket: Bucket;
  /** the name of this instance, the same after every start; no other running process has it */
  readonly writer: string;
  readonly openIds: OpenIds;
  /** how long a request of a killed process may still have an effect in S3 */
  readonly graceMs: number;
  /** from this age on, what other instances wrote counts as left behind, too; they did not come back to remove it themselves */
  readonly strangersAgeMs: number;
};

const unlinkedRecord = z.object({ digest: z.custom<Digest>((value) => typeof value === "string" && isDigest(value)) });

type IsLeftover = (key: string, changedAtMs: number) => boolean;

/**
 * Removes what uploads left in the bucket: at once what this instance wrote in a former life or gave up, and by its age what other
 * instances wrote. That is: multipart uploads, tails of idle sessions, and bytes that were stored and that no digest names. For the
 * latter only `unlinked/` is looked through, which is as much as was under way, not the whole bucket.
 *
 * Not covered: bytes that a digest names and no repository (a crash between the two, or deleted images): they are whole, the next push
 * of that digest takes them, and collecting them is garbage collection's. An upload of another instance that goes on for longer than
 * that age is aborted. S3 servers that list multipart uploads by whole keys only (MinIO) must expire those by themselves.
 */
export async function sweepLeftovers(deps: SweepDeps, signal: AbortSignal): Promise<void> {
  const { bucket, writer, openIds, graceMs, strangersAgeMs } = deps;
  const ofOurs: IsLeftover = (key) => !openIds.has(writtenBy(key)?.id ?? "");
  const ofStrangers: IsLeftover = (key, changedAtMs) => writtenBy(key)?.writer !== writer && changedAtMs < Date.now() - strangersAgeMs;

  await abortUploads(bucket, storageKeys.bytesOf(writer), ofOurs, signal);
  await abortUploads(bucket, storageKeys.allBytes, ofStrangers, signal);
  await deleteTails(bucket, storageKeys.uploadTailsOf(writer), ofOurs, signal);
  await deleteTails(bucket, storageKeys.allUploadTails, ofStrangers, signal);
  // whoever was killed may have asked S3 for a digest's name just before; it must be seen below
  await sleep(graceMs, undefined, { signal });
  await settleUnlinked(bucket, storageKeys.unlinkedOf(writer), ofOurs, signal);
  await settleUnlinked(bucket, storageKeys.allUnlinked, ofStrangers, signal);
}

async function abortUploads(bucket: Bucket, prefix: string, isLeftover: IsLeftover, signal: AbortSignal): Promise<void> {
  for await (const { Key, UploadId, Initiated } of walkUploads(bucket, prefix, signal)) {
    if (Key === undefined || !isLeftover(Key, Initiated?.getTime() ?? Date.now())) continue;
    const abort = new AbortMultipartUploadCommand({ Bucket: bucket.name, Key, UploadId });
    await bucket.s3.send(abort, { abortSignal: signal }).catch((error: unknown) => {
      // it ended in the meantime
      if (!isAbsent(error)) throw toStorageError(error, signal);
    });
  }
}

async function* walkUploads(bucket: Bucket, Prefix: string, signal: AbortSignal): AsyncGenerator<MultipartUpload> {
  for (let from = {}, more = true; more;) {
    const request = new ListMultipartUploadsCommand({ Bucket: bucket.name, Prefix, ...from });
    const page = await bucket.s3.send(request, { abortSignal: signal }).catch((error: unknown) => {
      throw toStorageError(error, signal);
    });
    yield* page.Uploads ?? [];
    more = page.IsTruncated === true && page.NextKeyMarker !== undefined;
    from = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
  }
}

async function deleteTails(bucket: Bucket, prefix: string, isLeftover: IsLeftover, signal: AbortSignal): Promise<void> {
  for await (const { key, changedAtMs } of bucket.walk(prefix, signal)) {
    if (isLeftover(key, changedAtMs)) await bucket.delete(key, signal);
  }
}

async function settleUnlinked(bucket: Bucket, prefix: string, isLeftover: IsLeftover, signal: AbortSignal): Promise<void> {
  for await (const { key, changedAtMs } of bucket.walk(prefix, signal)) {
    const bytes = writtenBy(key);
    if (bytes === undefined || !isLeftover(key, changedAtMs)) continue;
    const record = parseRecord(unlinkedRecord, await bucket.get(key, signal));
    if (record === undefined) continue;
    const bytesKey = storageKeys.bytes(bytes);
    const named = await readDigestRecord(bucket, record.digest, signal);
    if (named?.key !== bytesKey) await bucket.delete(bytesKey, signal);
    await bucket.delete(key, signal);
  }
}
