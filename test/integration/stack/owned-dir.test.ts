import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { identifyProcess, isRunning } from "../../../config/process-identity.ts";
import { mountsBelow } from "../../../stack/mounts.ts";
import { sweepOwnedDirs } from "../../support/owned-dir.ts";

const support = path.resolve(import.meta.dirname, "../../support/owned-dir.ts");
const killedRun = `
  import { execFileSync, spawn } from "node:child_process";
  import { mkdirSync } from "node:fs";
  const { makeOwnedDir, tieToDir } = await import(${JSON.stringify(support)});
  const dir = await makeOwnedDir();
  mkdirSync(dir + "/disk");
  execFileSync("mount", ["-t", "tmpfs", "slipway-test", dir + "/disk"]);
  const child = spawn("sleep", ["300"], { stdio: "ignore" });
  await tieToDir(dir, "sleep", child.pid);
  console.log(JSON.stringify({ dir, pid: child.pid }));
`;

test("what a killed run has started and mounted ends with the next run's set-up", async () => {
  const run = spawn(process.execPath, ["--input-type=module", "--eval", killedRun], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(createInterface(run.stdout), "line")) as [string];
  const { dir, pid } = JSON.parse(line) as { dir: string; pid: number };
  run.kill("SIGKILL");
  await once(run, "exit");
  const started = identifyProcess(pid)!;
  expect(isRunning(started)).toBe(true);
  expect(await mountsBelow(dir)).toEqual([`${dir}/disk`]);

  await sweepOwnedDirs();
  expect(isRunning(started)).toBe(false);
  expect(existsSync(dir)).toBe(false);
  expect(await mountsBelow(dir)).toEqual([]);
});
