import { ApplicationFailure } from "@temporalio/activity";
import { type ActivityFailureDetails, type ActivityFailureType, activityFailureTypes } from "./failure-types.ts";

const keptLines = 20;
const longestLine = 2000;

/** A failure of the closed table, small enough for a history whatever it carries. */
export function activityFailure(
  type: ActivityFailureType,
  message: string,
  logTail: readonly string[],
  cause?: unknown,
  more: Omit<ActivityFailureDetails, "logTail"> = {},
): ApplicationFailure {
  const details: ActivityFailureDetails = { logTail: logTail.slice(-keptLines).map((line) => line.slice(0, longestLine)), ...more };
  return ApplicationFailure.create({
    type,
    message: message.slice(0, longestLine),
    nonRetryable: !activityFailureTypes[type].retry,
    details: [details],
    ...(cause instanceof Error ? { cause: withoutStack(cause) } : {}),
  });
}

/** Histories are read by operators, not debuggers, and a stack names this host's paths. */
function withoutStack(error: Error): Error {
  const plain = new Error(error.message.slice(0, longestLine));
  plain.name = error.name;
  plain.stack = "";
  return plain;
}
