import {
  ActivityFailure,
  ApplicationFailure,
  TimeoutFailure,
  continueAsNew,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import type { ActivityFailureDetails } from "../activities/failure-types.ts";
import { onHost } from "./activities.ts";
import { replicationQuery } from "./messages.ts";
import { replicationDelayMs } from "./policies.ts";
import { replicationDetails } from "./replication-details.ts";
import { digestAttribute, orgAttribute } from "./search-attributes.ts";
import type { CarriedReplication, ReplicateImageInput, ReplicationAttempt, ReplicationView } from "./types.ts";

const triesPerRun = 100;

const nothingCarried: CarriedReplication = { failures: 0, furthestBytes: 0, sentBytes: 0, delayMs: 0 };

/**
 * Brings one image of one repository to upstream, however long upstream is away. The image is pinned on its host until upstream has
 * given the manifest back by its digest; only then is it durable.
 */
export async function replicateImage(input: ReplicateImageInput): Promise<ReplicationView> {
  const { org, host, repository, digest, carried = nothingCarried } = input;
  const here = onHost(host);
  let { failures, furthestBytes } = carried;
  let view: ReplicationView = {
    org,
    repository,
    digest,
    status: "pending",
    attempts: input.attempts ?? 0,
    sentBytes: carried.sentBytes,
    ...(carried.totalBytes === undefined ? {} : { totalBytes: carried.totalBytes }),
    ...(carried.lastError === undefined ? {} : { lastError: carried.lastError }),
  };
  setHandler(replicationQuery, () => view);
  upsertSearchAttributes([
    { key: orgAttribute, value: org },
    { key: digestAttribute, value: digest },
  ]);
  const update = (change: Partial<ReplicationView>) => {
    const { nextAttemptAtMs: _over, ...rest } = view;
    view = { ...rest, ...change };
    setCurrentDetails(replicationDetails(view));
  };
  const wait = async (delayMs: number) => {
    update({ status: "retrying", nextAttemptAtMs: Date.now() + delayMs });
    await sleep(delayMs, { summary: "before the next attempt" });
  };
  const count = ({ sentBytes, skippedBytes, totalBytes }: ReplicationAttempt): Partial<ReplicationView> => {
    const hasBytes = sentBytes + skippedBytes;
    failures = hasBytes > furthestBytes ? 1 : failures + 1;
    furthestBytes = Math.max(furthestBytes, hasBytes);
    return { sentBytes: view.sentBytes + sentBytes, ...(totalBytes > 0 ? { totalBytes } : {}) };
  };

  await here.pinImage({ org, repository, digest }, "pin until durable");
  if (carried.delayMs > 0) await wait(carried.delayMs);
  for (let tries = 1; ; tries++) {
    update({ status: view.lastError === undefined ? "running" : "retrying", attempts: view.attempts + 1 });
    let delayMs: number;
    try {
      const attempt = await here.pushUpstream(input, `send ${repository} upstream, attempt ${view.attempts}`);
      update({ status: "durable", ...count(attempt) });
      break;
    } catch (failure) {
      if (isCancellation(failure)) throw failure;
      const attempt = attemptOf(failure);
      update({ status: "retrying", lastError: messageOf(failure), ...count(attempt) });
      delayMs = replicationDelayMs(failures, attempt.retryAfterMs);
    }
    if (tries >= triesPerRun || workflowInfo().continueAsNewSuggested) {
      const { attempts, sentBytes, totalBytes, lastError } = view;
      const next = { failures, furthestBytes, sentBytes, delayMs, ...(totalBytes === undefined ? {} : { totalBytes }) };
      await continueAsNew<typeof replicateImage>({
        ...input,
        attempts,
        carried: { ...next, ...(lastError === undefined ? {} : { lastError }) },
      });
    }
    await wait(delayMs);
  }
  await here.unpinImage({ org, repository, digest }, "let go of the pin");
  return view;
}

const untoldAttempt: ReplicationAttempt = { sentBytes: 0, skippedBytes: 0, totalBytes: 0 };

/** What the failure says of the attempt; of a killed worker's, what its last heartbeat said. */
function attemptOf(failure: unknown): ReplicationAttempt {
  const cause = failure instanceof ActivityFailure ? failure.cause : failure;
  if (cause instanceof TimeoutFailure) return (cause.lastHeartbeatDetails as ReplicationAttempt | null | undefined) ?? untoldAttempt;
  const details = cause instanceof ApplicationFailure ? (cause.details?.[0] as ActivityFailureDetails | undefined) : undefined;
  return details?.replication ?? untoldAttempt;
}

function messageOf(failure: unknown): string {
  const cause = failure instanceof ActivityFailure ? (failure.cause ?? failure) : failure;
  return cause instanceof ApplicationFailure || cause instanceof Error ? cause.message : String(failure);
}
