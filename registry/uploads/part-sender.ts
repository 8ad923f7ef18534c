import { DistributionError } from "../../oci/errors.ts";
import type { Bucket } from "../bucket/bucket.ts";
import { sendPart } from "./multipart.ts";
import type { Multipart, StoredPart } from "./upload-state.ts";

/** Sends the parts of one body, several at a time. */
export type PartSender = {
  /** Starts one; waits only while too many are under way. `done` gives the bytes back, however it ended. @throws what failed before */
  send(multipart: Multipart, number: number, bytes: Uint8Array, done: () => void): Promise<void>;
  /** Those that are stored, in the order they were sent, up to the first that is not. */
  stored(): readonly StoredPart[];
  /** Waits for all that are under way; whether each of them is stored. */
  settle(): Promise<boolean>;
  /** Lets go of those under way. */
  stop(): void;
};

/** parts of one blob under way at a time: enough to keep S3 busy, few enough to leave memory to other pushes */
const mostInFlight = 4;

/** Takes no request's signal: parts outlive the request that brought them. */
export function createPartSender(bucket: Bucket): PartSender {
  const stopped = new AbortController();
  const results: (StoredPart | undefined)[] = [];
  const inFlight = new Set<Promise<void>>();
  let failure: unknown;

  const sendOne = async (at: number, part: () => Promise<StoredPart | undefined>, done: () => void): Promise<void> => {
    try {
      results[at] = await part();
      if (results[at] === undefined) failure ??= new DistributionError("BLOB_UPLOAD_UNKNOWN");
    } catch (error) {
      failure ??= error;
    } finally {
      done();
    }
  };
  return {
    send: async (multipart, number, bytes, done) => {
      const at = results.push(undefined) - 1;
      const sent = sendOne(at, () => sendPart(bucket, multipart, number, bytes, stopped.signal), done);
      inFlight.add(sent);
      void sent.then(() => inFlight.delete(sent));
      while (inFlight.size >= mostInFlight) await Promise.race(inFlight);
      if (failure !== undefined) throw failure as Error;
    },
    stored: () => {
      const gap = results.indexOf(undefined);
      return (gap === -1 ? results : results.slice(0, gap)) as StoredPart[];
    },
    settle: async () => {
      await Promise.all(inFlight);
      return failure === undefined;
    },
    stop: () => stopped.abort(),
  };
}
