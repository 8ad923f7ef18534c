import type { ActivityOptions, LocalActivityOptions } from "@temporalio/workflow";

/**
 * One policy for each class of work. A host that no worker serves is noticed by `scheduleToStartTimeout`, which Temporal never
 * retries: the run then ends as failed instead of waiting for ever. Two minutes let a supervisor bring a worker back.
 */
const hostQueueWait = "2m";

/** Looks and small writes of the control plane: retried until the store answers, within reason. */
export const controlWork: ActivityOptions = {
  startToCloseTimeout: "15s",
  scheduleToCloseTimeout: "10m",
  retry: { initialInterval: "200ms", backoffCoefficient: 2, maximumInterval: "5s" },
};

/** The same within the workflow's own worker, without a trip through the server: for what lies between a user and the next step. */
export const promptControlWork: LocalActivityOptions = {
  startToCloseTimeout: "15s",
  scheduleToCloseTimeout: "10m",
  retry: { initialInterval: "200ms", backoffCoefficient: 2, maximumInterval: "5s" },
};

export const wakeWork: ActivityOptions = {
  scheduleToStartTimeout: hostQueueWait,
  startToCloseTimeout: "2m",
  heartbeatTimeout: "10s",
  retry: { initialInterval: "500ms", backoffCoefficient: 2, maximumInterval: "10s", maximumAttempts: 5 },
};

/** The user's Dockerfile decides how long; what is lost with a builder or a worker is built again from its cache. */
export const buildWork: ActivityOptions = {
  scheduleToStartTimeout: hostQueueWait,
  startToCloseTimeout: "2h",
  heartbeatTimeout: "5s",
  retry: { initialInterval: "500ms", backoffCoefficient: 2, maximumInterval: "10s", maximumAttempts: 5 },
};

/** Changes to one host's containerd: all idempotent by name. */
export const hostWork: ActivityOptions = {
  scheduleToStartTimeout: hostQueueWait,
  startToCloseTimeout: "2m",
  heartbeatTimeout: "5s",
  retry: { initialInterval: "300ms", backoffCoefficient: 2, maximumInterval: "5s", maximumAttempts: 6 },
};

/** What follows once a release has proved itself: there is no way back that is safer, so it is tried until it is done. */
export const commitWork: ActivityOptions = {
  startToCloseTimeout: "30s",
  heartbeatTimeout: "10s",
  retry: { initialInterval: "200ms", backoffCoefficient: 2, maximumInterval: "10s" },
};

/** Taking away what is no longer wanted goes on until it is gone. */
export const removalWork: ActivityOptions = {
  startToCloseTimeout: "10m",
  heartbeatTimeout: "10s",
  retry: { initialInterval: "500ms", backoffCoefficient: 2, maximumInterval: "30s" },
};

/** Walks through the whole bucket, as long as that takes; a store that is away is waited for. */
export const registryWork: ActivityOptions = {
  startToCloseTimeout: "24h",
  scheduleToCloseTimeout: "48h",
  heartbeatTimeout: "10s",
  retry: { initialInterval: "1s", backoffCoefficient: 2, maximumInterval: "1m" },
};

/** One try: `replicateImage` counts and spaces the tries itself, so that they can be seen. */
export const replicationWork: ActivityOptions = {
  startToCloseTimeout: "6h",
  heartbeatTimeout: "30s",
  retry: { maximumAttempts: 1 },
};

/** Upstream may ask for more patience than we have, or for a date long gone. */
const longestRetryAfterMs = 3_600_000;

/**
 * How long an image's replication waits before it tries again: the longer the more attempts in a row brought it no further, and as
 * long as upstream asks (`Retry-After`), up to an hour.
 */
export function replicationDelayMs(failures: number, retryAfterMs = 0): number {
  const backoffMs = Math.min(1000 * 2 ** Math.min(failures - 1, 8), 120_000);
  return Math.max(backoffMs, Math.min(retryAfterMs, longestRetryAfterMs));
}
