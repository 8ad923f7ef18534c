import { randomUUID } from "node:crypto";
import { WorkflowFailedError } from "@temporalio/client";
import { defineSearchAttributeKey, SearchAttributeType, TypedSearchAttributes } from "@temporalio/common";
import { controlTaskQueue } from "../../config/paths.ts";
import { searchAttributeNames, workflowIds } from "../../workflows/ids.ts";
import type { DeployTokenView, NewDeployToken } from "../../workflows/types.ts";
import { CliError } from "../errors.ts";
import type { ControlPlane } from "./connect.ts";

const patience = "30s";

/** Registers a token whose secret only the caller knows. */
export function createDeployToken(controlPlane: ControlPlane, token: NewDeployToken): Promise<DeployTokenView> {
  return execute(controlPlane, "createDeployToken", workflowIds.deployToken(token.id, "create"), token, {
    staticSummary: `Deploy token "${token.name}" for ${token.org}${token.app === undefined ? "" : `/${token.app}`}: ${token.actions.join(", ")}`,
    org: token.org,
  });
}

export function listDeployTokens(controlPlane: ControlPlane, org: string | undefined): Promise<readonly DeployTokenView[]> {
  const input = org === undefined ? {} : { org };
  return execute(controlPlane, "listDeployTokens", workflowIds.deployTokenList(randomUUID()), input, {
    staticSummary: "List deploy tokens",
  });
}

/** Null when there is no token of that id. */
export function revokeDeployToken(controlPlane: ControlPlane, id: string): Promise<DeployTokenView | null> {
  const workflowId = workflowIds.deployToken(id, "revoke");
  return execute(controlPlane, "revokeDeployToken", workflowId, { id }, { staticSummary: `Revoke deploy token ${id}` });
}

async function execute<T>(
  { client }: ControlPlane,
  workflow: string,
  workflowId: string,
  input: object,
  { staticSummary, org }: { readonly staticSummary: string; readonly org?: string },
): Promise<T> {
  const attribute = { key: defineSearchAttributeKey(searchAttributeNames.org, SearchAttributeType.KEYWORD), value: org ?? "" };
  try {
    return await client.workflow.execute<(input: object) => Promise<T>>(workflow, {
      taskQueue: controlTaskQueue,
      workflowId,
      args: [input],
      workflowIdConflictPolicy: "USE_EXISTING",
      workflowExecutionTimeout: patience,
      staticSummary,
      ...(org === undefined ? {} : { typedSearchAttributes: new TypedSearchAttributes([attribute]) }),
    });
  } catch (cause) {
    if (!(cause instanceof WorkflowFailedError)) throw cause;
    const outcome = { kind: "control plane unreachable" } as const;
    throw new CliError(`Cannot reach the registry's tokens: nobody did it within ${patience}`, {
      outcome,
      tryCommand: "slipway doctor",
      cause,
    });
  }
}
