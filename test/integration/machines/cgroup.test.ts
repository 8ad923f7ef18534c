import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { cgroupDirs, cgroupPids, emptyCgroup, removeCgroup } from "../../../machines/cgroup.ts";

const signal = AbortSignal.timeout(30_000);

test("empties a cgroup of processes that are frozen, in it and beneath it, and removes it", async () => {
  const cgroup = `/slipway-test-${crypto.randomUUID().slice(0, 8)}`;
  const sleepers: ChildProcess[] = [];
  try {
    for (const name of [cgroup, `${cgroup}/inner`]) {
      const sleeper = spawn("sleep", ["1000"], { stdio: "ignore" });
      sleepers.push(sleeper);
      const [dir] = (await cgroupDirs(name)).filter((each) => /\/freezer\/|fs\/cgroup\/slipway/.test(each));
      await mkdir(dir!, { recursive: true });
      await writeFile(path.join(dir!, "cgroup.procs"), String(sleeper.pid));
    }
    expect(new Set(await cgroupPids(cgroup))).toEqual(new Set(sleepers.map(({ pid }) => pid)));
    for (const dir of await cgroupDirs(cgroup)) {
      if (existsSync(path.join(dir, "freezer.state"))) await writeFile(path.join(dir, "freezer.state"), "FROZEN");
      else if (existsSync(path.join(dir, "cgroup.freeze"))) await writeFile(path.join(dir, "cgroup.freeze"), "1");
    }
    await emptyCgroup(cgroup, 5000, signal);
    expect(await cgroupPids(cgroup)).toEqual([]);
    await removeCgroup(cgroup);
    expect((await cgroupDirs(cgroup)).filter((dir) => existsSync(dir))).toEqual([]);
  } finally {
    for (const sleeper of sleepers) sleeper.kill("SIGKILL");
  }
});
