import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BuildLogEntry, createBuildLogs } from "../../../builder/build-log.ts";
import { buildLogName } from "../../../config/build-log-name.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "build-log-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const file = () => path.join(dir, "log");
const attempt = (number: number): BuildLogEntry => ({ type: "attempt", attempt: number, atMs: number });

const run = { workflowId: "deploy/acme/web/1", runId: "one" };

async function write(...entries: BuildLogEntry[]): Promise<void> {
  await using log = await createBuildLogs(file).open(run);
  for (const entry of entries) log.write(entry);
}

/** As a reader takes them: what cannot be read is passed over. */
async function entries(): Promise<unknown[]> {
  const lines = (await readFile(file(), "utf8")).split("\n").slice(0, -1);
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as unknown];
    } catch {
      return [];
    }
  });
}

test("every attempt of a run is in its log, and a run of the same key has a log of its own", async () => {
  await write(attempt(1));
  await write(attempt(2), { type: "end" });
  expect(await entries()).toEqual([attempt(1), attempt(2), { type: "end" }]);
  expect(buildLogName({ ...run, runId: "two" })).not.toBe(buildLogName(run));
});

test.each(['{"type":"log","line":"half a li', '{"type":"end"', "{"])(
  "the line %s of a killed worker takes no other with it",
  async (torn) => {
    await rm(file(), { force: true });
    await write(attempt(1));
    await appendFile(file(), torn);
    await write(attempt(2));
    expect(await entries()).toEqual([attempt(1), attempt(2)]);
    // what a follower would ask for again does not end like this
    expect((await readFile(file(), "utf8")).split("\n")[1]).toMatch(/\}$/);
  },
);
