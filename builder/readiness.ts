import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { openBuildkit } from "./buildkit/client.ts";

export type ReadinessOptions = {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** its socket takes connections, its API may not answer yet */
  readonly onListening?: () => void;
  /** whether waiting for it is in vain */
  readonly hasEnded?: () => Promise<boolean>;
};

export class NotReadyError extends Error {
  override readonly name = "NotReadyError";
}

const pollMs = 4;
const endPollMs = 250;

/**
 * Returns as soon as the buildkitd behind `socket` answers its API.
 * @throws NotReadyError after `timeoutMs`, or when it has ended.
 */
export async function awaitReady(socket: string, { signal, timeoutMs, onListening, hasEnded }: ReadinessOptions): Promise<void> {
  const deadline = AbortSignal.timeout(timeoutMs);
  const either = AbortSignal.any([signal, deadline]);
  try {
    for (let polls = 1; !(await listens(socket)); polls++) {
      if (polls % Math.round(endPollMs / pollMs) === 0 && (await hasEnded?.()))
        throw new NotReadyError("The builder ended before it answered");
      await sleep(pollMs, undefined, { signal: either });
    }
    onListening?.();
    using buildkit = openBuildkit(`unix:${socket}`);
    await buildkit.control.info({}, { signal: either });
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    throw new NotReadyError(`The builder did not answer on "${socket}" within ${timeoutMs} ms`, { cause: error });
  }
}

/** Cheaper than a gRPC channel's own attempts, and without their back-off. */
function listens(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    const settle = (answer: boolean) => {
      connection.destroy();
      resolve(answer);
    };
    connection.once("connect", () => settle(true));
    connection.once("error", () => settle(false));
  });
}
