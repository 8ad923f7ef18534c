import { type WorkflowHandle, WorkflowFailedError } from "@temporalio/client";
import { controlTaskQueue } from "../../config/paths.ts";
import { CliError } from "../errors.ts";
import type { ControlPlane } from "./connect.ts";

export type RegistryWork<I, O> = (input: I) => Promise<O>;

/** Starts a workflow that looks after the registry's or a host's storage, or attaches to the one that runs. */
export async function startRegistryWork<I, O>(
  { client }: ControlPlane,
  { workflowType, workflowId, input, summary }: { workflowType: string; workflowId: string; input: I; summary: string },
): Promise<WorkflowHandle<RegistryWork<I, O>>> {
  const { firstExecutionRunId } = await client.workflow.start(workflowType, {
    taskQueue: controlTaskQueue,
    workflowId,
    args: [input],
    workflowIdConflictPolicy: "USE_EXISTING",
    staticSummary: summary,
  });
  return client.workflow.getHandle<RegistryWork<I, O>>(workflowId, firstExecutionRunId);
}

/** @throws CliError when the workflow did not end well; Ctrl-C leaves it running. */
export async function endOf<T>(controlPlane: ControlPlane, handle: { readonly workflowId: string; result(): Promise<T> }): Promise<T> {
  try {
    return await handle.result();
  } catch (cause) {
    if (!(cause instanceof WorkflowFailedError)) throw cause;
    throw new CliError(
      `The workflow "${handle.workflowId}" failed: ${rootOf(cause).message}; see ${controlPlane.uiOf(handle.workflowId)}`,
      {
        outcome: { kind: "unexpected" },
        tryCommand: "slipway doctor",
        cause,
      },
    );
  }
}

function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}
