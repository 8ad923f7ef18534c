import { Context } from "@temporalio/activity";

const beatMs = 500;

/**
 * Runs `work` under the activity's cancellation signal and beats while it lasts: without beats Temporal can neither tell a dead worker
 * nor deliver a cancellation. `report` hands over what the next beat shows in the Temporal UI.
 */
export async function withHeartbeat<T>(work: (signal: AbortSignal, report: (details: unknown) => void) => Promise<T>): Promise<T> {
  const context = Context.current();
  let details: unknown;
  const beat = () => context.heartbeat(details);
  beat();
  const timer = setInterval(beat, beatMs);
  try {
    return await work(context.cancellationSignal, (next) => {
      details = next;
      beat();
    });
  } finally {
    clearInterval(timer);
  }
}
