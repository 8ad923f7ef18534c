import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { isRunning, type ProcessIdentity } from "../../../config/process-identity.ts";
import type { ProcessName } from "../../../config/ready.ts";
import { instancePaths } from "../../../config/paths.ts";
import type { Settings } from "../../../config/settings.ts";
import { runningProcess } from "../../../stack/child-process.ts";
import { containerdConfig } from "../../../stack/engines.ts";
import { entryPoint } from "../../../stack/entry-point.ts";
import { stackFiles } from "../../../stack/files.ts";
import { containerdOptions } from "../../../stack/processes.ts";
import { resolveSettings } from "../../../stack/settings.ts";
import { stackStatus } from "../../../stack/status.ts";
import { readSupervisorState } from "../../../stack/supervisor-state.ts";
import { makeOwnedDir, removeOwnedDir } from "../../support/owned-dir.ts";

const engines = ["s3", "temporal", "containerd"] as const;

let dir = "";
let settings: Settings;

beforeEach(async () => {
  dir = await makeOwnedDir();
  const tools = { binDir: inject("toolsBinDir"), shareDir: inject("toolsShareDir") };
  ({ settings } = await resolveSettings({ dataDir: path.join(dir, "data"), runDir: dir, ports: "any" }, tools, {}));
  const options = containerdOptions(settings);
  await mkdir(settings.s3.embeddedDir as string);
  await writeFile(options.configFile, containerdConfig(options));
});
afterEach(async () => await removeOwnedDir(dir));

function startSupervisor() {
  const env = { ...process.env, SLIPWAY_SETTINGS: instancePaths.settings(settings.dataDir) };
  const [command, ...args] = entryPoint("test/support/supervise-engines");
  return spawn(command, args, { env, stdio: "ignore", detached: true });
}

async function untilEnginesServe(isEnough: () => boolean = () => true): Promise<Record<(typeof engines)[number], number>> {
  for (;;) {
    const { processes } = await stackStatus(settings);
    const ready = processes.filter(({ name, ready: isUp }) => isUp && engines.some((engine) => engine === name));
    if (ready.length === engines.length && isEnough()) return Object.fromEntries(ready.map(({ name, pid }) => [name, pid])) as never;
    await sleep(50);
  }
}

const processOf = (name: ProcessName | "supervisor") => runningProcess(stackFiles.process(settings, name).pidFile) as ProcessIdentity;

test("a killed process is started again, the others go on", async () => {
  const supervisor = startSupervisor();
  const before = await untilEnginesServe();
  process.kill(before.s3, "SIGKILL");
  const after = await untilEnginesServe(() => processOf("s3") !== undefined && processOf("s3").pid !== before.s3);
  expect(after).toEqual({ ...before, s3: after.s3 });
  expect(readSupervisorState(settings)?.processes.s3).toMatchObject({ restarts: 1, lastEnd: "signal SIGKILL" });
  supervisor.kill("SIGTERM");
  await once(supervisor, "exit");
});

test("processes survive a killed supervisor, and the next one takes them over", async () => {
  const killed = startSupervisor();
  const before = await untilEnginesServe();
  killed.kill("SIGKILL");
  await once(killed, "exit");
  const next = startSupervisor();
  const after = await untilEnginesServe(() => processOf("supervisor")?.pid === next.pid);
  expect(after).toEqual(before);

  process.kill(after.temporal, "SIGKILL");
  const restarted = await untilEnginesServe(() => processOf("temporal") !== undefined && processOf("temporal").pid !== before.temporal);
  expect(restarted).toEqual({ ...before, temporal: restarted.temporal });
  next.kill("SIGTERM");
  await once(next, "exit");
});

test("a process that dies while no supervisor runs is started by the next one", async () => {
  const killed = startSupervisor();
  const before = await untilEnginesServe();
  killed.kill("SIGKILL");
  await once(killed, "exit");
  process.kill(before.containerd, "SIGKILL");
  const next = startSupervisor();
  const after = await untilEnginesServe(() => processOf("containerd") !== undefined && processOf("containerd").pid !== before.containerd);
  expect(after).toEqual({ ...before, containerd: after.containerd });
  next.kill("SIGTERM");
  await once(next, "exit");
});

test("SIGTERM ends the supervisor and all its processes", async () => {
  const supervisor = startSupervisor();
  await untilEnginesServe();
  const all = [...engines.map(processOf), processOf("supervisor")];
  supervisor.kill("SIGTERM");
  await once(supervisor, "exit");
  expect(all.filter(isRunning)).toEqual([]);
});

test("SIGUSR2 ends the supervisor alone", async () => {
  const supervisor = startSupervisor();
  const before = await untilEnginesServe();
  supervisor.kill("SIGUSR2");
  await once(supervisor, "exit");
  expect(await untilEnginesServe()).toEqual(before);
});
