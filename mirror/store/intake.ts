import type { Digest } from "../../oci/digest.ts";

/** What uploads ask before they take in more: the place of limits. */
export type Intake = {
  /** Before an upload begins. What it answers goes with the upload, and is disposed of with it. @throws DistributionError when it may not. */
  open(signal: AbortSignal): Promise<UploadIntake>;
};

export type UploadIntake = Disposable & {
  /**
   * Has `write` take a chunk when it may. Undefined when the next may come at once, else a promise of that, which slows the client. When it
   * rejects, the upload ends with that error; with the signal's reason, the request does.
   */
  pass(sizeBytes: number, write: () => Promise<void> | undefined, signal: AbortSignal): Promise<void> | undefined;
  /** A request's body is over; the upload may go on with another. */
  paused(): void;
  /** The upload became content. */
  stored(digest: Digest, sizeBytes: number): void;
};

const unlimited: UploadIntake = {
  pass: (_sizeBytes, write) => write(),
  paused: () => undefined,
  stored: () => undefined,
  [Symbol.dispose]: () => undefined,
};

export const unlimitedIntake: Intake = { open: async () => unlimited };
