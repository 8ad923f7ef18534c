import type { WorkflowExecutionDescription } from "@temporalio/client";
import { defaultPayloadConverter } from "@temporalio/common";
import type { ReplicationAttempt, ReplicationView } from "../../workflows/types.ts";
import type { ControlPlane } from "./connect.ts";

const queryDeadlineMs = 3000;

/**
 * The `replication` query, with what the attempt that runs has sent until now; undefined when the workflow is gone or nobody answers.
 * A workflow that is over without having made the image durable counts as stopped, whatever it believed last.
 */
export async function queryReplication({ client }: ControlPlane, workflowId: string): Promise<ReplicationView | undefined> {
  try {
    return await client.withDeadline(Date.now() + queryDeadlineMs, async () => {
      const handle = client.workflow.getHandle(workflowId);
      const [view, description] = await Promise.all([handle.query<ReplicationView>("replication"), handle.describe()]);
      return asItStands(view, description);
    });
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

type Described = Pick<WorkflowExecutionDescription, "status" | "raw">;

export function asItStands(view: ReplicationView, { status, raw }: Described): ReplicationView {
  if (status.name !== "RUNNING") return view.status === "durable" ? view : stopped(view);
  const sending = raw.pendingActivities?.find(({ activityType }) => activityType?.name === "pushUpstream");
  const payload = sending?.heartbeatDetails?.payloads?.[0];
  if (payload === undefined || payload === null) return view;
  const attempt = defaultPayloadConverter.fromPayload<ReplicationAttempt | null | undefined>(payload);
  // it beats before it has anything to say
  if (attempt === null || attempt === undefined) return view;
  return { ...view, sentBytes: view.sentBytes + attempt.sentBytes, totalBytes: attempt.totalBytes };
}

function stopped({ nextAttemptAtMs: _never, ...view }: ReplicationView): ReplicationView {
  return { ...view, status: "stopped" };
}
