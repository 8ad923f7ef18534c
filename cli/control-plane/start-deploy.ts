import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from "@temporalio/client";
import { defineSearchAttributeKey, SearchAttributeType, TypedSearchAttributes } from "@temporalio/common";
import { controlTaskQueue } from "../../config/paths.ts";
import { searchAttributeNames, workflowIds } from "../../workflows/ids.ts";
import type { DeployInput } from "../../workflows/types.ts";
import type { Fingerprint } from "../deploy/fingerprint.ts";
import { CliError } from "../errors.ts";
import type { ControlPlane } from "./connect.ts";

export type StartedDeploy = {
  readonly workflowId: string;
  /** `started` by us, `attached` to a run under way, `finished` successfully before */
  readonly how: "started" | "attached" | "finished";
};

/**
 * Starts a run, or attaches to the one that has the key. `fresh`: nobody can have used the key, so it is not looked up.
 * @throws CliError (exit code 2) when the key stands for another source or config.
 */
export async function startDeploy(
  controlPlane: ControlPlane,
  input: DeployInput,
  fingerprint: Fingerprint,
  fresh: boolean,
): Promise<StartedDeploy> {
  const workflowId = workflowIds.deploy(input.org, input.app, input.key);
  const earlier = fresh ? undefined : await describeKey(controlPlane, workflowId);
  if (earlier !== undefined) refuseOtherContent(input.key, earlier.fingerprint, fingerprint);
  if (earlier?.status === "COMPLETED") return { workflowId, how: "finished" };
  try {
    await controlPlane.client.workflow.start("deploy", {
      taskQueue: controlTaskQueue,
      workflowId,
      args: [input],
      workflowIdConflictPolicy: "USE_EXISTING",
      workflowIdReusePolicy: "ALLOW_DUPLICATE_FAILED_ONLY",
      staticSummary: `Deploy ${input.app}`,
      staticDetails: detailsOf(input),
      memo: { ...fingerprint, ...(input.commit === undefined ? {} : { commit: input.commit }) },
      typedSearchAttributes: new TypedSearchAttributes([
        { key: defineSearchAttributeKey(searchAttributeNames.org, SearchAttributeType.KEYWORD), value: input.org },
        { key: defineSearchAttributeKey(searchAttributeNames.app, SearchAttributeType.KEYWORD), value: input.app },
      ]),
    });
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return { workflowId, how: "finished" };
    throw error;
  }
  if (earlier?.status === "RUNNING") return { workflowId, how: "attached" };
  if (!fresh) {
    // two starts at the same moment: the loser was attached to the winner's run, which has to be about the same content
    const now = await describeKey(controlPlane, workflowId);
    if (now !== undefined) refuseOtherContent(input.key, now.fingerprint, fingerprint);
  }
  return { workflowId, how: "started" };
}

async function describeKey(controlPlane: ControlPlane, workflowId: string) {
  try {
    const run = await controlPlane.client.workflow.getHandle(workflowId).describe();
    return { status: run.status.name, fingerprint: (run.memo ?? {}) as Partial<Fingerprint> };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

function refuseOtherContent(key: string, recorded: Partial<Fingerprint>, wanted: Fingerprint): void {
  const differences = (["sourceDigest", "configDigest"] as const)
    .filter((part) => recorded[part] !== undefined && recorded[part] !== wanted[part])
    .map((part) => `  ${part === "sourceDigest" ? "source" : "config"}: this is ${wanted[part]}, the key stands for ${recorded[part]}`);
  if (differences.length === 0) return;
  throw new CliError(`Cannot use idempotency key "${key}": it was used for another deploy\n${differences.join("\n")}`, {
    tryCommand: "slipway deploy --idempotency-key with another key",
  });
}

function detailsOf(input: DeployInput): string {
  const commit = input.commit === undefined ? "" : `\n- commit \`${input.commit.sha}\`${input.commit.dirty ? " (with changes)" : ""}`;
  return `- app \`${input.org}/${input.app}\`\n- key \`${input.key}\`\n- source \`${input.source.digest}\`${commit}`;
}
