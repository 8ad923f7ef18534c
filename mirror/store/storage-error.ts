import { ClientError, Status } from "nice-grpc";
import { hasStatus, isNotFound } from "../../containerd/client.ts";
import { ContentMismatchError, UnsupportedDigestError } from "../../containerd/content.ts";
import { DistributionError } from "../../oci/errors.ts";

/** Answers that pass by themselves; the client may try again. */
const passing: ReadonlySet<Status> = new Set([
  Status.UNAVAILABLE,
  Status.DEADLINE_EXCEEDED,
  Status.RESOURCE_EXHAUSTED,
  Status.INTERNAL,
  Status.UNKNOWN,
  Status.ABORTED,
  // by containerd, as it ends; ours is an AbortError
  Status.CANCELLED,
]);

/** Whether containerd itself failed, rather than what it was asked to do. */
export const isOutage = (error: unknown): boolean => error instanceof ClientError && passing.has(error.code);

/** Someone deleted the push's lease, or its hour is over: the client begins again, under a new one. */
export const isLeaseGone = (error: unknown): boolean => hasStatus(error, Status.NOT_FOUND) && error.details.includes("lease");

/** ENOSPC or EDQUOT, for which containerd has no code, or our own floor under the free space. */
export function isDiskFull(error: unknown): boolean {
  if (error instanceof DistributionError) return error.code === "DISK_FULL";
  return error instanceof ClientError && /no space left on device|disk quota exceeded/.test(error.details);
}

/** When a prune, or who filled the disk, may have made room. */
const diskFullRetryS = 30;

/** containerd's failures as the one error that the routes render; every other error stays as it is. */
export async function asDistributionErrors<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof DistributionError) throw error;
    if (isDiskFull(error))
      throw new DistributionError("DISK_FULL", { storage: "containerd", retryAfterSeconds: diskFullRetryS }, { cause: error });
    // content that was looked at a moment ago: the collector was quicker
    if (isOutage(error) || isNotFound(error)) throw new DistributionError("UNAVAILABLE", { storage: "containerd" }, { cause: error });
    throw error;
  }
}

/** What containerd has against a digest, as the client's fault; every other error as it is. */
export function asDigestRefusal(error: unknown, detail: Readonly<Record<string, unknown>> = {}): unknown {
  if (error instanceof ContentMismatchError)
    return new DistributionError("DIGEST_INVALID", { ...detail, found: error.found }, { cause: error });
  if (error instanceof UnsupportedDigestError)
    return new DistributionError("DIGEST_INVALID", { algorithm: error.algorithm, expected: "sha256" }, { cause: error });
  return error;
}
