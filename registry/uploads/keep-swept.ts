import { setTimeout as sleep } from "node:timers/promises";
import type { DistributionLog } from "../../oci/routes/register-distribution.ts";

const pauseMs = 10 * 60_000;
const retryMs = 30_000;

/** Sweeps every 10 minutes or so until the signal; sooner after a failure. Never throws. */
export async function keepSwept(sweep: (signal: AbortSignal) => Promise<void>, log: DistributionLog, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const isDone = await sweep(signal).then(
      () => true,
      (error: unknown) => {
        if (!signal.aborted) log.error({ err: error }, "cannot remove what uploads left in the bucket");
        return false;
      },
    );
    // instances that started together do not sweep together
    const nextMs = (isDone ? pauseMs : retryMs) * (0.75 + Math.random() / 2);
    await sleep(nextMs, undefined, { signal, ref: false }).catch(() => {});
  }
}
