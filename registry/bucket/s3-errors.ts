import { DistributionError } from "../../oci/errors.ts";

type S3Failure = { readonly name?: string; readonly $metadata?: { readonly httpStatusCode?: number } };

export function isAbsent(error: unknown): boolean {
  const { name, $metadata } = error as S3Failure;
  return name === "NoSuchKey" || name === "NotFound" || ($metadata?.httpStatusCode === 404 && name !== "NoSuchBucket");
}

/** The condition of a conditional write did not hold. */
export function isPreconditionFailed(error: unknown): boolean {
  return (error as S3Failure).$metadata?.httpStatusCode === 412;
}

/** S3 saw two conditional writes of one key at a time and let neither win: try again. */
export function isConditionalConflict(error: unknown): boolean {
  const { name, $metadata } = error as S3Failure;
  return $metadata?.httpStatusCode === 409 && (name === "ConditionalRequestConflict" || name === "OperationAborted");
}

/** S3 holds other parts than a completion names, or none that make an object. */
export function isRefusedPart(error: unknown): boolean {
  const { name = "" } = error as S3Failure;
  return ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"].includes(name);
}

/** S3 may have done what it was asked for, or not. */
export function isUnanswered(error: unknown): boolean {
  const status = (error as S3Failure).$metadata?.httpStatusCode;
  return status === undefined || [408, 500, 502, 504].includes(status);
}

/** What a failure of S3 means to a client of the registry; an abort stays an abort. */
export function toStorageError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof DistributionError) return error;
  return new DistributionError("UNAVAILABLE", undefined, { cause: error });
}
