import type { BuildLogEntry } from "../../builder/build-log.ts";
import type { BuildLogReader } from "./log-client.ts";

/**
 * A build's log as it comes, until its last line or, as the last attempt may have lost its builder or its host in the middle of one, until
 * the run has ended; what was written until then is read to its end. `runEnded` settles with the run.
 * @throws when the run cannot be waited for, or what is left of the log cannot be read
 */
export async function* followBuild(log: BuildLogReader, runEnded: Promise<unknown>, signal: AbortSignal): AsyncGenerator<BuildLogEntry> {
  const over = new AbortController();
  const waiting = runEnded.finally(() => over.abort());
  // awaited below; until then it may already have failed
  waiting.catch(() => undefined);
  for await (const entry of log.follow(AbortSignal.any([signal, over.signal]))) {
    yield entry;
    if (entry.type === "end") return;
  }
  signal.throwIfAborted();
  await waiting;
  yield* log.rest(signal);
}
