import { cancellationSignal } from "@temporalio/activity";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { controlTaskQueue } from "../config/paths.ts";
import type { ReleaseLedger } from "../registry/releases/release-ledger.ts";
import { workflowIds } from "../workflows/ids.ts";
import { requestTurn } from "../workflows/messages.ts";
import { appAttribute, orgAttribute } from "../workflows/search-attributes.ts";
import type { AppInput } from "../workflows/types.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { ControlActivities } from "./types.ts";

export type ControlDeps = {
  readonly ledger: ReleaseLedger;
  readonly client: Client;
  /** the hosts that build and run apps; today an instance has one */
  readonly hosts: readonly [string, ...string[]];
};

export function createControlActivities({ ledger, client, hosts }: ControlDeps): ControlActivities {
  return {
    async admitRun({ org, app, key }) {
      const release = await ledger.findByKey(org, app, key, cancellationSignal());
      return { host: hosts[0], ...(release === undefined ? {} : { release }) };
    },

    recordRelease: ({ release }) => withHeartbeat((signal) => ledger.record(release, signal)),

    async recoverApp({ org, app }) {
      const release = (await ledger.list(org, app, cancellationSignal())).at(-1);
      return { host: hosts[0], nextVersion: (release?.version ?? 0) + 1, ...(release === undefined ? {} : { release }) };
    },

    async askForTurn({ org, app, request }) {
      const input: AppInput = { org, app };
      await client.workflow.signalWithStart<(input: AppInput) => Promise<void>, [typeof request]>("app", {
        taskQueue: controlTaskQueue,
        workflowId: workflowIds.app(org, app),
        args: [input],
        signal: requestTurn,
        signalArgs: [request],
        staticSummary: `${org}/${app}`,
        typedSearchAttributes: [
          { key: orgAttribute, value: org },
          { key: appAttribute, value: app },
        ],
      });
    },

    async isRunOpen({ workflowId, runId }) {
      try {
        const { status } = await client.workflow.getHandle(workflowId, runId).describe();
        return status.name === "RUNNING";
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return false;
        throw error;
      }
    },
  };
}
