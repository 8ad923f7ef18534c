import type { AppState, ReplicationView, TurnRequest } from "../../workflows/types.ts";
import { machineJson } from "./machine-json.ts";
import { replicationJson } from "./result-json.ts";

/** What is known of an app, in JSON's names, schema version 1: what is not known is left out. */
export function appJson(org: string, app: string, state: AppState, replication: ReplicationView | undefined) {
  const { current, holder } = state;
  return {
    org,
    app,
    ...(current?.url === undefined ? {} : { url: current.url }),
    ...(current === undefined
      ? {}
      : {
          release: {
            version: current.release.version,
            image_digest: current.release.image.digest,
            created_at: timeOf(current.release.createdAtMs),
            ...(current.release.commit === undefined
              ? {}
              : { commit: { sha: current.release.commit.sha, dirty: current.release.commit.dirty } }),
          },
        }),
    machines: (current?.machines ?? []).map(machineJson),
    turn: {
      ...(holder === undefined ? {} : { holder: { ...turnJson(holder), version: holder.version } }),
      waiting: state.waiting.map(turnJson),
    },
    history: state.history.map(({ version, workflowId, status, atMs }) => ({ version, workflow_id: workflowId, status, at: timeOf(atMs) })),
    ...(replication === undefined ? {} : { replication: replicationJson(replication) }),
  };
}

const turnJson = ({ workflowId, requestedAtMs }: TurnRequest) => ({ workflow_id: workflowId, requested_at: timeOf(requestedAtMs) });

const timeOf = (atMs: number): string => new Date(atMs).toISOString();
