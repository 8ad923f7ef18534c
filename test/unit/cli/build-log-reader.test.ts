import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { type BuildLogEntry, buildLogName } from "../../../builder/build-log.ts";
import { openBuildLog } from "../../../cli/follow/log-client.ts";
import { instancePaths } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { createLogServer } from "../../../machines/logs/server.ts";

const workflowId = "deploy/default/web/k1";
const linesOf = (entries: readonly BuildLogEntry[]): string => entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
const attempt: BuildLogEntry = { type: "attempt", attempt: 1, atMs: 1 };
const said = (line: string): BuildLogEntry => ({ type: "log", step: 1, stream: "stdout", line, atMs: 1 });
const end: BuildLogEntry = { type: "end" };

test("a log that a run of the same key begins anew is read once, from its new beginning", async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), "log-reader-"));
  const settings = { dataDir } as Settings;
  const server = createLogServer(settings);
  await server.listen({ host: "127.0.0.1", port: 0 });
  const { port } = server.server.address() as AddressInfo;
  const here: Settings = { ...settings, logs: { listen: { host: "127.0.0.1", port } } };
  const file = instancePaths.buildLog(settings, buildLogName(workflowId));
  await mkdir(path.dirname(file), { recursive: true });
  try {
    await writeFile(file, linesOf([attempt, said("of a run that failed, with a log that is longer than the next one"), end]));
    const stop = new AbortController();
    const seen: BuildLogEntry[] = [];
    for await (const entry of openBuildLog(here, workflowId).follow(stop.signal)) {
      seen.push(entry);
      if (seen.length === 3) await writeFile(file, linesOf([attempt, said("new"), end]));
      // what came twice would come now
      if (seen.length === 6) setTimeout(() => stop.abort(), 700);
    }
    expect(seen.slice(3)).toEqual([attempt, said("new"), end]);
  } finally {
    await server.close();
    await rm(dataDir, { recursive: true });
  }
});
