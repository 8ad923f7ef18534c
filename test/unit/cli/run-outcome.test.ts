import { WorkflowFailedError } from "@temporalio/client";
import { ApplicationFailure, CancelledFailure, RetryState, TerminatedFailure, TimeoutFailure } from "@temporalio/common";
import { expect, test } from "vitest";
import { outcomeOfError } from "../../../cli/control-plane/run-outcome.ts";
import { failedView } from "./views.ts";

const failedWith = (cause: Error) =>
  outcomeOfError(new WorkflowFailedError("Workflow execution failed", cause, RetryState.NON_RETRYABLE_FAILURE));

test("a failure's type is the code, and its first detail the run as it ended", () => {
  const failure = ApplicationFailure.create({ message: "unhealthy", type: "DEPLOY_UNHEALTHY", details: [failedView] });
  expect(failedWith(failure)).toEqual({ kind: "failed", code: "DEPLOY_UNHEALTHY", message: failedView.error?.message, view: failedView });
});

test("a failure of a type that is no code is unexpected", () => {
  expect(failedWith(ApplicationFailure.create({ message: "boom", type: "TypeError" }))).toEqual({
    kind: "failed",
    code: "UNEXPECTED",
    message: "boom",
  });
});

test("cancelled and terminated runs are cancelled, a run that took too long is not", () => {
  expect(failedWith(new CancelledFailure("cancelled"))).toMatchObject({ code: "CANCELLED" });
  expect(failedWith(new TerminatedFailure("terminated"))).toMatchObject({ code: "CANCELLED" });
  expect(failedWith(new TimeoutFailure("timed out", undefined, "START_TO_CLOSE"))).toMatchObject({ code: "UNEXPECTED" });
});

test("an outage on the way to the run is no verdict", () => {
  expect(outcomeOfError(new Error("14 UNAVAILABLE"))).toBeUndefined();
});
