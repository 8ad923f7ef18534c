import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import type { Bucket } from "../bucket/bucket.ts";
import { toStorageError } from "../bucket/s3-errors.ts";

export type MultipartUpload = {
  /** Starts sending one part; waits only while too many are under way. `done` gives the bytes back, however it ended. */
  send(bytes: Uint8Array, done: () => void): Promise<void>;
  /** Waits for all parts and makes the object out of them. */
  complete(signal: AbortSignal): Promise<void>;
  /** Nothing of it stays behind; never throws. */
  abort(): Promise<void>;
};

/** parts of one blob under way at a time: enough to keep S3 busy, few enough to leave buffers to other pushes */
const mostInFlight = 4;
const abortTimeoutMs = 10_000;

/** Opens a multipart upload to a key that nobody else writes. Takes no request's signal: parts outlive the request that brought them. */
export async function openMultipartUpload(bucket: Bucket, key: string): Promise<MultipartUpload> {
  const { s3, name: Bucket } = bucket;
  const stopped = new AbortController();
  const opened = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: key })).catch((error: unknown) => {
    throw toStorageError(error, stopped.signal);
  });
  const target = { Bucket, Key: key, UploadId: opened.UploadId };
  const inFlight = new Set<Promise<void>>();
  const parts: { PartNumber: number; ETag: string | undefined }[] = [];
  let failure: unknown;

  const sendPart = async (PartNumber: number, Body: Uint8Array, done: () => void): Promise<void> => {
    try {
      const { ETag } = await s3.send(new UploadPartCommand({ ...target, PartNumber, Body }), { abortSignal: stopped.signal });
      parts[PartNumber - 1] = { PartNumber, ETag };
    } catch (error) {
      failure ??= toStorageError(error, stopped.signal);
    } finally {
      done();
    }
  };
  const throwFailure = () => {
    if (failure !== undefined) throw failure as Error;
  };
  let sent = 0;

  return {
    send: async (bytes, done) => {
      sent += 1;
      const part = sendPart(sent, bytes, done);
      inFlight.add(part);
      void part.then(() => inFlight.delete(part));
      while (inFlight.size >= mostInFlight) await Promise.race(inFlight);
      throwFailure();
    },
    complete: async (signal) => {
      await Promise.all(inFlight);
      throwFailure();
      try {
        await s3.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts: parts } }), { abortSignal: signal });
      } catch (error) {
        throw toStorageError(error, signal);
      }
    },
    abort: async () => {
      stopped.abort();
      await Promise.all(inFlight);
      await s3.send(new AbortMultipartUploadCommand(target), { abortSignal: AbortSignal.timeout(abortTimeoutMs) }).catch(() => {});
    },
  };
}
