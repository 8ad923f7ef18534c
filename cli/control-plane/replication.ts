import type { ReplicationView } from "../../workflows/types.ts";
import type { ControlPlane } from "./connect.ts";

const queryDeadlineMs = 3000;

/** The `replication` query; undefined when the workflow is gone or nobody answers. */
export async function queryReplication({ client }: ControlPlane, workflowId: string): Promise<ReplicationView | undefined> {
  try {
    return await client.withDeadline(Date.now() + queryDeadlineMs, () =>
      client.workflow.getHandle(workflowId).query<ReplicationView>("replication"),
    );
  } catch {
    return undefined;
  }
}

/** Every replication of an org that Temporal still knows, newest first. */
export async function* listReplications(controlPlane: ControlPlane, org: string): AsyncGenerator<ReplicationView> {
  for await (const info of controlPlane.client.workflow.list({ query: "WorkflowType = 'replicateImage'" })) {
    if (!info.workflowId.startsWith(`replicate/${org}/`) || info.status.name === "CONTINUED_AS_NEW") continue;
    const view = await queryReplication(controlPlane, info.workflowId);
    if (view !== undefined) yield view;
  }
}
