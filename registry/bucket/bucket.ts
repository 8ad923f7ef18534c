import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { openDownload } from "./open-download.ts";
import { isAbsent, isConditionalConflict, isPreconditionFailed, isUnanswered, toStorageError } from "./s3-errors.ts";

export type StoredObject = { readonly bytes: Uint8Array; readonly etag: string; readonly contentType: string };
export type ObjectInfo = { readonly sizeBytes: number; readonly etag: string; readonly contentType: string };
/** absent: written only when the key is free; an etag: only when that is what it replaces */
export type WriteCondition = { readonly if: "absent" } | { readonly if: "unchanged"; readonly etag: string };

/** One bucket, by the few operations the registry is made of. Failures of S3 throw DistributionError UNAVAILABLE. */
export type Bucket = {
  readonly s3: S3Client;
  readonly name: string;
  head(key: string, signal: AbortSignal): Promise<ObjectInfo | undefined>;
  get(key: string, signal: AbortSignal): Promise<StoredObject | undefined>;
  /** `lengthBytes` is how long it will be, if that is known: long ones are read in larger pieces. */
  stream(
    key: string,
    range: { first: number; last: number } | undefined,
    signal: AbortSignal,
    lengthBytes?: number,
  ): Promise<Readable | undefined>;
  put(key: string, bytes: Uint8Array, signal: AbortSignal, contentType?: string): Promise<void>;
  /** false when the condition did not hold */
  putIf(condition: WriteCondition, key: string, bytes: Uint8Array, signal: AbortSignal, contentType?: string): Promise<boolean>;
  /** The same, for whoever goes on from what was written: its ETag, or undefined when the condition did not hold. */
  swap(condition: WriteCondition, key: string, bytes: Uint8Array, signal: AbortSignal, contentType?: string): Promise<string | undefined>;
  /**
   * Removing what is not there is no error. `only` is what it holds, for a key that others write anew as soon as it is free: when an answer
   * is lost, it is deleted again only while it still holds that.
   */
  delete(key: string, signal: AbortSignal, only?: Uint8Array): Promise<void>;
  /** Keys under a prefix in byte order, at most `limit`. */
  list(prefix: string, page: { limit?: number; startAfter?: string }, signal: AbortSignal): Promise<readonly string[]>;
  /** All objects under a prefix, fetched page by page; with `startAfter` those after that key. */
  walk(prefix: string, signal: AbortSignal, startAfter?: string): AsyncGenerator<{ readonly key: string; readonly changedAtMs: number }>;
};

const mostConflicts = 6;
const conflictPauseMs = 10;
const pageSize = 1000;
const mostDeletes = 5;
const deletePauseMs = 50;

export function createBucket({ s3, bucket: name }: { s3: S3Client; bucket: string }): Bucket {
  const at = (Key: string) => ({ Bucket: name, Key });
  const guard = async <T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> => {
    try {
      return await act();
    } catch (error) {
      throw toStorageError(error, signal);
    }
  };
  const orAbsent = async <T>(signal: AbortSignal, act: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await act();
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw toStorageError(error, signal);
    }
  };

  const swap: Bucket["swap"] = (condition, key, bytes, signal, contentType) =>
    guard(signal, async () => {
      const when = condition.if === "absent" ? { IfNoneMatch: "*" } : { IfMatch: condition.etag };
      const type = contentType === undefined ? {} : { ContentType: contentType };
      for (let attempt = 1; ; attempt += 1) {
        try {
          const { ETag } = await s3.send(new PutObjectCommand({ ...at(key), ...when, ...type, Body: bytes }), { abortSignal: signal });
          return ETag ?? "";
        } catch (error) {
          if (isPreconditionFailed(error) || (condition.if === "unchanged" && isAbsent(error))) return undefined;
          if (!isConditionalConflict(error) || attempt === mostConflicts) throw error;
          await sleep(Math.random() * conflictPauseMs * 2 ** attempt, undefined, { signal });
        }
      }
    });

  const get: Bucket["get"] = (key, signal) =>
    orAbsent(signal, async () => {
      const found = await s3.send(new GetObjectCommand(at(key)), { abortSignal: signal });
      const bytes = (await found.Body?.transformToByteArray()) ?? new Uint8Array();
      return { bytes, etag: found.ETag ?? "", contentType: found.ContentType ?? "" };
    });

  const remove: Bucket["delete"] = async (key, signal, only) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await s3.send(new DeleteObjectCommand(at(key)), { abortSignal: signal });
        return;
      } catch (error) {
        if (isAbsent(error)) return;
        if (signal.aborted || attempt === mostDeletes || !isUnanswered(error)) throw toStorageError(error, signal);
      }
      await guard(signal, () => sleep(deletePauseMs * 2 ** attempt, undefined, { signal }));
      const found = only === undefined ? undefined : await get(key, signal);
      if (only !== undefined && (found === undefined || Buffer.compare(found.bytes, only) !== 0)) return;
    }
  };

  return {
    s3,
    name,
    swap,
    get,
    delete: remove,
    head: (key, signal) =>
      orAbsent(signal, async () => {
        const found = await s3.send(new HeadObjectCommand(at(key)), { abortSignal: signal });
        return { sizeBytes: found.ContentLength ?? 0, etag: found.ETag ?? "", contentType: found.ContentType ?? "" };
      }),
    stream: (key, range, signal, lengthBytes) =>
      orAbsent(signal, () => {
        const part = range === undefined ? {} : { range: `bytes=${range.first}-${range.last}` };
        return openDownload(s3, { bucket: name, key, ...part, ...(lengthBytes === undefined ? {} : { lengthBytes }) }, signal);
      }),
    put: (key, bytes, signal, contentType) =>
      guard(signal, async () => {
        await s3.send(
          new PutObjectCommand({ ...at(key), Body: bytes, ...(contentType === undefined ? {} : { ContentType: contentType }) }),
          {
            abortSignal: signal,
          },
        );
      }),
    putIf: async (...write) => (await swap(...write)) !== undefined,
    list: (prefix, { limit = Number.POSITIVE_INFINITY, startAfter }, signal) =>
      guard(signal, async () => {
        const keys: string[] = [];
        let token: string | undefined;
        do {
          const from = token === undefined ? (startAfter === undefined ? {} : { StartAfter: startAfter }) : { ContinuationToken: token };
          const MaxKeys = Math.min(pageSize, limit - keys.length);
          const page = await s3.send(new ListObjectsV2Command({ Bucket: name, Prefix: prefix, MaxKeys, ...from }), { abortSignal: signal });
          keys.push(...(page.Contents ?? []).flatMap(({ Key }) => (Key === undefined ? [] : [Key])));
          token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
        } while (token !== undefined && keys.length < limit);
        return keys;
      }),
    walk: async function* (prefix, signal, startAfter) {
      for (let from: object = startAfter === undefined ? {} : { StartAfter: startAfter }, more = true; more;) {
        const request = new ListObjectsV2Command({ Bucket: name, Prefix: prefix, MaxKeys: pageSize, ...from });
        const page = await guard(signal, async () => s3.send(request, { abortSignal: signal }));
        for (const { Key, LastModified } of page.Contents ?? []) {
          if (Key !== undefined) yield { key: Key, changedAtMs: LastModified?.getTime() ?? Date.now() };
        }
        more = page.IsTruncated === true && page.NextContinuationToken !== undefined;
        from = { ContinuationToken: page.NextContinuationToken };
      }
    },
  };
}
