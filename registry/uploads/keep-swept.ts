import { setTimeout as sleep } from "node:timers/promises";
import type { DistributionLog } from "../../oci/routes/register-distribution.ts";

const pauseMs = 10 * 60_000;
const retryMs = 10_000;

/** Sweeps now and every 10 minutes until the signal; soon again after a failure. Never throws. */
export async function keepSwept(sweep: (signal: AbortSignal) => Promise<void>, log: DistributionLog, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const isDone = await sweep(signal).then(
      () => true,
      (error: unknown) => {
        if (!signal.aborted) log.error({ err: error }, "cannot remove what uploads left in the bucket");
        return false;
      },
    );
    await sleep(isDone ? pauseMs : retryMs, undefined, { signal, ref: false }).catch(() => {});
  }
}
