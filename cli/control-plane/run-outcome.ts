import { ApplicationFailure, CancelledFailure, TerminatedFailure, TimeoutFailure } from "@temporalio/common";
import { WorkflowFailedError } from "@temporalio/client";
import { deployErrorCodes, type DeployErrorCode, type DeployResult, type RunView } from "../../workflows/types.ts";

/** The one end of a run. `view` is absent only when the run was ended from outside before it could say anything. */
export type RunOutcome =
  | { readonly kind: "deployed"; readonly result: DeployResult }
  | { readonly kind: "failed"; readonly code: DeployErrorCode; readonly message: string; readonly view?: RunView };

/** Reads the failure of a workflow. Undefined when the error is not the run's verdict but a fault on the way to it. */
export function outcomeOfError(error: unknown): RunOutcome | undefined {
  if (!(error instanceof WorkflowFailedError)) return undefined;
  const cause = error.cause;
  if (cause instanceof CancelledFailure) return { kind: "failed", code: "CANCELLED", message: "The run was cancelled" };
  if (cause instanceof TerminatedFailure) return { kind: "failed", code: "CANCELLED", message: "The run was terminated without clean-up" };
  if (cause instanceof TimeoutFailure) return { kind: "failed", code: "UNEXPECTED", message: "The run took longer than it may" };
  if (cause instanceof ApplicationFailure) {
    const view = cause.details?.[0] as RunView | undefined;
    const code = deployErrorCodes.find((known) => known === cause.type) ?? "UNEXPECTED";
    return { kind: "failed", code, message: view?.error?.message ?? cause.message, ...(view === undefined ? {} : { view }) };
  }
  return { kind: "failed", code: "UNEXPECTED", message: cause?.message ?? error.message };
}
