import { workflowIds } from "../../workflows/ids.ts";
import type { AppState } from "../../workflows/types.ts";
import { CliError } from "../errors.ts";
import type { ControlPlane } from "./connect.ts";

export type AppEntry = { readonly app: string; readonly state: AppState };

const queryDeadlineMs = 5000;

/** The `app` query; undefined when the app was never deployed. @throws CliError when no worker answers. */
export async function queryApp({ client }: ControlPlane, org: string, app: string): Promise<AppState | undefined> {
  try {
    return await client.withDeadline(Date.now() + queryDeadlineMs, () =>
      client.workflow.getHandle(workflowIds.app(org, app)).query<AppState>("app"),
    );
  } catch (cause) {
    if (cause instanceof Error && cause.name === "WorkflowNotFoundError") return undefined;
    throw new CliError(`Cannot ask app "${app}" for its state: ${(cause as Error).message}`, {
      outcome: { kind: "control plane unreachable" },
      tryCommand: "slipway doctor",
      cause,
    });
  }
}

/** Every app of an org with its state, by name; or the one that was asked for. */
export async function listApps(controlPlane: ControlPlane, org: string, only: string | undefined): Promise<AppEntry[]> {
  const names = new Set<string>();
  if (only !== undefined) names.add(only);
  else
    for await (const { workflowId } of controlPlane.client.workflow.list({ query: "WorkflowType = 'app' AND ExecutionStatus = 'Running'" }))
      if (workflowId.startsWith(workflowIds.app(org, ""))) names.add(workflowId.slice(workflowIds.app(org, "").length));
  const entries: AppEntry[] = [];
  for (const app of [...names].sort()) {
    const state = await queryApp(controlPlane, org, app);
    if (state !== undefined) entries.push({ app, state });
    else if (only !== undefined) throw new CliError(`Cannot find app "${app}": it was never deployed`, { tryCommand: "slipway deploy" });
  }
  return entries;
}
