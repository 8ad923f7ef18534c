import { ActivityFailure, ApplicationFailure, TimeoutFailure, isCancellation } from "@temporalio/workflow";
import type { ActivityFailureDetails, ActivityFailureType } from "../activities/failure-types.ts";
import type { DeployError, DeployErrorCode, DeployStage } from "./types.ts";

/** What an activity's typed failure means for the run it happened in. A type that is not listed is UNEXPECTED. */
const codes: Readonly<Record<ActivityFailureType, DeployErrorCode>> = {
  BuildFailed: "BUILD_FAILED",
  BuildRefused: "CONFIG_INVALID",
  PushFailed: "IMAGE_FAILED",
  SourceUnavailable: "BUILDER_UNAVAILABLE",
  BuilderLost: "BUILDER_UNAVAILABLE",
  BuilderUnavailable: "BUILDER_UNAVAILABLE",
  ImageVerificationFailed: "IMAGE_FAILED",
  MachineUnhealthy: "DEPLOY_UNHEALTHY",
  MachineStartFailed: "ROLLOUT_FAILED",
  RouteFailed: "ROLLOUT_FAILED",
  ImageUnavailable: "IMAGE_FAILED",
  ImagePullFailed: "IMAGE_FAILED",
  ReplicationFailed: "UNEXPECTED",
};

const retryable: ReadonlySet<DeployErrorCode> = new Set(["IMAGE_FAILED", "BUILDER_UNAVAILABLE", "ROLLOUT_FAILED", "UNEXPECTED"]);

/** Turns whatever ended a run's stage into the one error that the run reports. */
export function toDeployError(failure: unknown, stage: DeployStage, serving: string): DeployError {
  if (isCancellation(failure)) return report("CANCELLED", "The run was cancelled", []);
  const cause = failure instanceof ActivityFailure ? failure.cause : failure;
  if (cause instanceof ApplicationFailure) {
    const code = codes[cause.type as keyof typeof codes] ?? "UNEXPECTED";
    const details = cause.details?.[0] as Partial<ActivityFailureDetails> | undefined;
    return report(code, cause.message, details?.logTail ?? []);
  }
  if (cause instanceof TimeoutFailure) return report(timeoutCode(stage), timeoutMessage(cause, failure), []);
  return report("UNEXPECTED", failure instanceof Error ? failure.message : String(failure), []);

  function report(code: DeployErrorCode, message: string, logTail: readonly string[]): DeployError {
    return { code, stage, message, retryable: retryable.has(code), logTail, serving };
  }
}

function timeoutCode(stage: DeployStage): DeployErrorCode {
  if (stage === "wake" || stage === "build") return "BUILDER_UNAVAILABLE";
  return stage === "verify" ? "IMAGE_FAILED" : "ROLLOUT_FAILED";
}

function timeoutMessage(cause: TimeoutFailure, failure: unknown): string {
  const activity = failure instanceof ActivityFailure ? failure.activityType : "step";
  return cause.timeoutType === "SCHEDULE_TO_START"
    ? `No worker took "${activity}" in time: is the host's worker running?`
    : `"${activity}" did not answer in time (${cause.timeoutType})`;
}
