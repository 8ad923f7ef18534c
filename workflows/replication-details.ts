import type { ReplicationView } from "./types.ts";

/** What the Temporal UI shows of a replication, in Markdown. */
export function replicationDetails(view: ReplicationView): string {
  const { status, attempts, sentBytes, totalBytes, lastError, nextAttemptAtMs } = view;
  return [
    `**${status}**, ${attempts} attempt(s), ${sentBytes} bytes sent`,
    ...(totalBytes === undefined ? [] : [`the image has ${totalBytes} bytes`]),
    ...(nextAttemptAtMs === undefined ? [] : [`next attempt at ${new Date(nextAttemptAtMs).toISOString()}`]),
    ...(lastError === undefined ? [] : [`last error: ${lastError}`]),
  ].join("; ");
}
