import { DefaultLogger, Runtime, type Worker } from "@temporalio/worker";
import type { Logger } from "pino";

/** One logger for the SDK and for us; must come before any connection. */
export function installRuntime(log: Logger): void {
  Runtime.install({
    logger: new DefaultLogger("INFO", ({ level, message, meta }) => {
      const entry = { sdk: meta };
      if (level === "ERROR") log.error(entry, message);
      else if (level === "WARN") log.warn(entry, message);
      else if (level === "INFO") log.info(entry, message);
      else log.debug(entry, message);
    }),
    // SIGTERM is handled once, in runUntilTerminated, for all workers of the process
    shutdownSignals: [],
  });
}

/** Runs the workers until SIGTERM or SIGINT; running activities are asked to end and, beyond the grace time, left to their retry. */
export async function runUntilTerminated(workers: readonly Worker[], log: Logger): Promise<void> {
  const shutdown = (signal: NodeJS.Signals) => {
    log.info({ signal }, "shutting down");
    for (const worker of workers) if (worker.getState() === "RUNNING") worker.shutdown();
  };
  process.once("SIGTERM", shutdown);
  process.once("SIGINT", shutdown);
  await Promise.all(workers.map((worker) => worker.run()));
}
