import { mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { execFile } from "node:child_process";
import path from "node:path";
import { tmpdir } from "node:os";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { spawnSync } from "node:child_process";
import { thisProcess } from "../../../config/process-identity.ts";
import { installTools } from "../../../tools/install.ts";

const run = promisify(execFile);
let cache = "";
beforeEach(async () => {
  cache = await mkdtemp(path.join(tmpdir(), "slipway-cache-"));
});
afterEach(async () => await rm(cache, { recursive: true }));

async function install(lines: string[] = []) {
  return await installTools({ groups: [], cache, progress: (line) => lines.push(line), signal: AbortSignal.timeout(600_000) });
}

test("tools are built once, also when two install at the same time", async () => {
  const lines: string[] = [];
  const [one, two] = await Promise.all([install(lines), install(lines)]);
  expect(one).toEqual(two);
  expect(lines.filter((line) => line === "runc: building")).toHaveLength(1);
  expect(lines).toContain(`waiting for process ${process.pid}, which installs tools`);
  expect((await readdir(one.binDir)).toSorted()).toEqual([
    "bridge",
    "buildctl",
    "buildkitd",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "host-local",
    "loopback",
    "runc",
    "temporal",
    "versitygw",
  ]);
  expect(await readdir(one.shareDir)).toEqual(["seccomp.json"]);
  const { stdout } = await run(path.join(one.binDir, "runc"), ["--version"]);
  expect(stdout).toMatch(/^runc version 1\.5\.\d+\n/);
  expect(stdout).toContain("libseccomp:");

  const again: string[] = [];
  expect(await install(again)).toEqual(one);
  expect(again).toEqual([]);

  await truncate(path.join(one.binDir, "host-local"), 10);
  await writeFile(path.join(cache, "tools", "install.lock"), JSON.stringify({ ...thisProcess(), pid: spawnSync("true").pid }));
  const repaired: string[] = [];
  await install(repaired);
  expect(repaired).toEqual(["cni: building", expect.stringMatching(/^cni: done in \d+ s$/)]);
  expect((await stat(path.join(one.binDir, "host-local"))).size).toBeGreaterThan(1_000_000);
  expect((await readdir(path.join(cache, "tools"))).filter((name) => name.includes(".lock"))).toEqual([]);
}, 600_000);
