import {
  ActivityFailure,
  ApplicationFailure,
  continueAsNew,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import { onHost } from "./activities.ts";
import { replicationQuery } from "./messages.ts";
import { replicationDelayMs } from "./policies.ts";
import { digestAttribute, orgAttribute } from "./search-attributes.ts";
import type { ReplicateImageInput, ReplicationView } from "./types.ts";

const triesPerRun = 100;

/**
 * Brings one image of one repository to upstream, however long upstream is away. The image is pinned on its host until upstream has
 * given the manifest back by its digest; only then is it durable.
 */
export async function replicateImage(input: ReplicateImageInput): Promise<ReplicationView> {
  const { org, host, repository, digest } = input;
  const here = onHost(host);
  let view: ReplicationView = { org, repository, digest, status: "pending", attempts: input.attempts ?? 0, sentBytes: 0 };
  setHandler(replicationQuery, () => view);
  upsertSearchAttributes([
    { key: orgAttribute, value: org },
    { key: digestAttribute, value: digest },
  ]);
  const update = (change: Partial<ReplicationView>) => {
    view = { ...view, ...change };
    setCurrentDetails(
      `**${view.status}**, ${view.attempts} attempt(s), ${view.sentBytes} bytes sent${view.lastError === undefined ? "" : `; last error: ${view.lastError}`}`,
    );
  };

  await here.pinImage({ org, repository, digest }, "pin until durable");
  for (let tries = 1; ; tries++) {
    update({ status: view.lastError === undefined ? "running" : "retrying", attempts: view.attempts + 1 });
    try {
      const { sentBytes } = await here.pushUpstream(input, `send ${repository} upstream, attempt ${view.attempts}`);
      update({ status: "durable", sentBytes });
      break;
    } catch (failure) {
      if (isCancellation(failure)) throw failure;
      update({ status: "retrying", lastError: messageOf(failure) });
    }
    if (tries >= triesPerRun || workflowInfo().continueAsNewSuggested) {
      await continueAsNew<typeof replicateImage>({ ...input, attempts: view.attempts });
    }
    await sleep(replicationDelayMs(tries), { summary: "before the next attempt" });
  }
  await here.unpinImage({ org, repository, digest }, "let go of the pin");
  return view;
}

function messageOf(failure: unknown): string {
  const cause = failure instanceof ActivityFailure ? (failure.cause ?? failure) : failure;
  return cause instanceof ApplicationFailure || cause instanceof Error ? cause.message : String(failure);
}
