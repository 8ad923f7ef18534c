import type { S3Client } from "@aws-sdk/client-s3";
import { createBucketProbe } from "./bucket-probe.ts";

export type Look = { readonly ready: true } | { readonly ready: false; readonly reason: string };

export type Readiness = {
  /** Whether this instance can serve. All callers share one look at S3, which is as old as `everyMs` at most. */
  check(): Promise<Look>;
  /**
   * Not ready any more, for good. Resolves when somebody who asks has heard it, after `noticeMs` at the latest; at once when nobody
   * has asked lately.
   */
  drain(): Promise<void>;
};

export type ReadinessOptions = {
  readonly s3: S3Client;
  readonly bucket: string;
  /** of this instance alone; rewritten by each look */
  readonly probeKey: string;
  readonly onFailure?: (error: unknown) => void;
  readonly timeoutMs?: number;
  readonly everyMs?: number;
  readonly noticeMs?: number;
  /** whoever has not asked for so long does not ask any more */
  readonly watchedMs?: number;
};

const ready: Look = { ready: true };
const draining: Look = { ready: false, reason: "this instance is shutting down" };
const unreachable: Look = { ready: false, reason: "the bucket does not answer, or refuses conditional writes" };

export function createReadiness(options: ReadinessOptions): Readiness {
  const { onFailure, timeoutMs = 2_000, everyMs = 2_000, noticeMs = 1_000, watchedMs = 30_000 } = options;
  const probe = createBucketProbe(options);
  let isDraining = false;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let heard = (): void => {};
  let last: { readonly atMs: number; readonly look: Promise<Look> } | undefined;

  const look = async (): Promise<Look> => {
    try {
      await probe(AbortSignal.timeout(timeoutMs));
      return ready;
    } catch (error) {
      onFailure?.(error);
      return unreachable;
    }
  };
  return {
    check: async () => {
      askedAtMs = Date.now();
      if (!isDraining && (last === undefined || askedAtMs - last.atMs >= everyMs)) last = { atMs: askedAtMs, look: look() };
      const found = await last?.look;
      if (!isDraining && found !== undefined) return found;
      heard();
      return draining;
    },
    drain: async () => {
      isDraining = true;
      if (Date.now() - askedAtMs > watchedMs) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, noticeMs);
        heard = () => {
          clearTimeout(timer);
          // by then the answer is on its way
          setImmediate(resolve);
        };
      });
    },
  };
}
