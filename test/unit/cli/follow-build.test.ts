import { expect, test } from "vitest";
import type { BuildLogEntry } from "../../../builder/build-log.ts";
import { followBuild } from "../../../cli/follow/follow-build.ts";
import type { BuildLogReader } from "../../../cli/follow/log-client.ts";

const attempt = (number: number): BuildLogEntry => ({ type: "attempt", attempt: number, atMs: number });
const said = (line: string): BuildLogEntry => ({ type: "log", step: 1, stream: "stdout", line, atMs: 1 });
const end: BuildLogEntry = { type: "end" };

/** A log that holds `written`, and to which nothing is added while it is followed; `late` comes just before the run ends. */
function logOf(written: readonly BuildLogEntry[], late: readonly BuildLogEntry[] = []): BuildLogReader {
  return {
    async *follow(signal) {
      yield* written;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    },
    async *rest() {
      yield* late;
    },
  };
}

async function all(entries: AsyncIterable<BuildLogEntry>): Promise<BuildLogEntry[]> {
  const seen: BuildLogEntry[] = [];
  for await (const entry of entries) seen.push(entry);
  return seen;
}

const never = new Promise<never>(() => {});
const { signal } = new AbortController();

test("a build's log ends with its last line, however long the run goes on", async () => {
  expect(await all(followBuild(logOf([attempt(1), attempt(2), end]), never, signal))).toEqual([attempt(1), attempt(2), end]);
});

test("where the last attempt was lost, it ends with the run, and nothing that was written until then is missing", async () => {
  const run = Promise.withResolvers<void>();
  const reading = all(followBuild(logOf([attempt(1)], [said("the last")]), run.promise, signal));
  run.resolve();
  expect(await reading).toEqual([attempt(1), said("the last")]);
});

test("a run that cannot be waited for is told", async () => {
  await expect(all(followBuild(logOf([attempt(1)]), Promise.reject(new Error("no such run")), signal))).rejects.toThrow("no such run");
});

test("interrupted, it ends with the reason", async () => {
  const stop = new AbortController();
  const reading = all(followBuild(logOf([attempt(1)]), never, stop.signal));
  stop.abort(new Error("enough"));
  await expect(reading).rejects.toThrow("enough");
});
