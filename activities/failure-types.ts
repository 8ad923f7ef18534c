import type { ReplicationAttempt } from "../workflows/types.ts";

/** The closed table of failures that activities report on purpose: the type's name, and whether the same call may succeed later. */
export const activityFailureTypes = {
  /** the Dockerfile's own fault */
  BuildFailed: { retry: false },
  /** this host cannot do what is asked for */
  BuildRefused: { retry: false },
  PushFailed: { retry: true },
  /** the source could not be fetched through the mirror */
  SourceUnavailable: { retry: true },
  /** the builder went away in the middle: built again on a woken one, from its cache */
  BuilderLost: { retry: true },
  BuilderUnavailable: { retry: true },
  ImageVerificationFailed: { retry: false },
  /** neither other hosts nor the durable registry have it, or this host may not keep it */
  ImageUnavailable: { retry: false },
  /** it may come on another try: a source broke off, or the disk is short */
  ImagePullFailed: { retry: true },
  MachineUnhealthy: { retry: false },
  MachineStartFailed: { retry: true },
  RouteFailed: { retry: true },
  /** the image is not durable yet: tried again by the workflow, not before `retryAfterMs` */
  ReplicationFailed: { retry: true },
} as const satisfies Record<string, { retry: boolean }>;

export type ActivityFailureType = keyof typeof activityFailureTypes;

/** Travels as the failure's first detail; log lines are stripped of control characters and bounded before they get here. */
export type ActivityFailureDetails = {
  readonly logTail: readonly string[];
  readonly step?: string;
  readonly replication?: ReplicationAttempt;
};
