import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { type BuildLogEntry } from "../../../builder/build-log.ts";
import { buildLogName } from "../../../config/build-log-name.ts";
import { openBuildLog } from "../../../cli/follow/log-client.ts";
import { instancePaths } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { createLogServer } from "../../../machines/logs/server.ts";

const run = { workflowId: "deploy/default/web/k1", runId: "second" };
const linesOf = (entries: readonly BuildLogEntry[]): string => entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
const attempt = (number: number): BuildLogEntry => ({ type: "attempt", attempt: number, atMs: 1 });
const said = (line: string): BuildLogEntry => ({ type: "log", step: 1, stream: "stdout", line, atMs: 1 });
const end: BuildLogEntry = { type: "end" };

test("a build's log is that of its run alone, and each of its lines is read once, followed or not", async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), "log-reader-"));
  const settings = { dataDir } as Settings;
  const server = createLogServer(settings);
  await server.listen({ host: "127.0.0.1", port: 0 });
  const { port } = server.server.address() as AddressInfo;
  const here: Settings = { ...settings, logs: { listen: { host: "127.0.0.1", port } } };
  const fileOf = (runId: string) => instancePaths.buildLog(settings, buildLogName({ ...run, runId }));
  await mkdir(path.dirname(fileOf("first")), { recursive: true });
  try {
    await writeFile(fileOf("first"), linesOf([attempt(1), said("of a run of the same key that failed"), end]));
    const log = openBuildLog(here, run);
    const stop = new AbortController();
    const followed: BuildLogEntry[] = [];
    const following = (async () => {
      for await (const entry of log.follow(stop.signal)) followed.push(entry);
    })();
    await writeFile(fileOf("second"), linesOf([attempt(1), said("one")]));
    await vi.waitFor(() => expect(followed).toEqual([attempt(1), said("one")]), 5000);
    stop.abort();
    await following;
    await appendFile(fileOf("second"), linesOf([attempt(2), said("two")]));
    const rest: BuildLogEntry[] = [];
    for await (const entry of log.rest(new AbortController().signal)) rest.push(entry);
    expect(rest).toEqual([attempt(2), said("two")]);
  } finally {
    await server.close();
    await rm(dataDir, { recursive: true });
  }
});
