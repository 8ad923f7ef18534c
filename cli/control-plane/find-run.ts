import type { WorkflowExecutionInfo } from "@temporalio/client";
import { searchAttributeNames, workflowIds } from "../../workflows/ids.ts";
import { CliError } from "../errors.ts";
import type { ControlPlane } from "./connect.ts";

export type RunFilter = { readonly org: string; readonly app?: string };

/** Deploy runs, newest first. */
export async function* listRuns(controlPlane: ControlPlane, filter: RunFilter): AsyncGenerator<WorkflowExecutionInfo> {
  const clauses = ["WorkflowType = 'deploy'", `${searchAttributeNames.org} = ${quoted(filter.org)}`];
  if (filter.app !== undefined) clauses.push(`${searchAttributeNames.app} = ${quoted(filter.app)}`);
  yield* controlPlane.client.workflow.list({ query: clauses.join(" AND ") });
}

/** A value in a list filter; what could end the quotes does not appear in any id. */
export const quoted = (value: string): string => `'${value.replace(/['\\]/g, "")}'`;

/**
 * The workflow id of a run given as id, as key, or as a unique beginning of a key; without anything the newest run.
 * @throws CliError when there is none or more than one.
 */
export async function findRun(controlPlane: ControlPlane, filter: RunFilter, run: string | undefined): Promise<string> {
  if (run?.startsWith("deploy/") === true) return run;
  if (run !== undefined && filter.app !== undefined) {
    const exact = workflowIds.deploy(filter.org, filter.app, run);
    const found = await controlPlane.client.workflow
      .getHandle(exact)
      .describe()
      .then(
        () => true,
        () => false,
      );
    if (found) return exact;
  }
  const candidates = new Set<string>();
  for await (const { workflowId } of listRuns(controlPlane, filter)) {
    if (run === undefined) return workflowId;
    const key = keyOf(workflowId);
    if (key === run) return workflowId;
    if (key.startsWith(run)) candidates.add(workflowId);
  }
  const [only] = candidates;
  if (only !== undefined && candidates.size === 1) return only;
  const of = filter.app === undefined ? "" : ` of app "${filter.app}"`;
  if (run === undefined) throw new CliError(`Cannot find a run${of}`, { tryCommand: "slipway deploy" });
  if (candidates.size === 0) throw new CliError(`Cannot find run "${run}"${of}`, { tryCommand: "slipway runs list" });
  throw new CliError(`Cannot tell which run "${run}" is: ${[...candidates].map(keyOf).join(", ")}`, { tryCommand: "slipway runs list" });
}

export const keyOf = (workflowId: string): string => workflowId.split("/").slice(3).join("/");
export const appOf = (workflowId: string): string => workflowId.split("/")[2] ?? "";
