import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { instancePaths } from "../../../config/paths.ts";
import type { ProcessName } from "../../../config/ready.ts";
import { cgroupDirs, instanceCgroup, machineCgroup } from "../../../machines/cgroup.ts";
import { readNetworkRegistry, networksOf } from "../../../machines/network/network-registry.ts";
import { runProgram } from "../../../machines/run-program.ts";
import { down } from "../../../stack/down.ts";
import { shimsOf } from "../../../stack/shims.ts";
import { type SourceDir, sourceDir, tinyApp } from "../../support/apps.ts";
import { eventually } from "../../support/eventually.ts";
import { slipway } from "../../support/slipway.ts";
import { startTestStack, type TestStack } from "../../support/stack.ts";

const machineId = "web-app-0-v1";
let stack: TestStack;
let source: SourceDir;
let worker: SourceDir;
let url = "";

beforeAll(async () => {
  stack = await startTestStack();
  source = await tinyApp("web", "still here");
  worker = await sourceDir({
    Dockerfile: 'FROM busybox\nENTRYPOINT ["/bin/busybox", "sleep", "1000000"]\n',
    "slipway.toml": 'app = "jobs"\nkill_timeout = "1s"\n',
  });
  for (const args of [
    ["image", "bases", "busybox"],
    ["deploy", source.dir],
    ["deploy", worker.dir],
  ]) {
    const { code, stderr } = await slipway(stack.dataDir, args);
    expect(code, stderr).toBe(0);
  }
  const { apps } = JSON.parse((await slipway(stack.dataDir, ["status", "web", "-o", "json"])).stdout) as { apps: { url: string }[] };
  url = apps[0]!.url;
});

afterAll(async () => {
  await source?.[Symbol.asyncDispose]();
  await worker?.[Symbol.asyncDispose]();
  await stack?.stop();
});

const answers = async () => await (await fetch(url, { signal: AbortSignal.timeout(5000) })).text();
const answersAgain = () => eventually(async () => expect(await answers()).toBe("still here"), 60_000);

test("after down and up the app answers at the same URL, and in between nothing of the instance is on the host", async () => {
  expect(await answers()).toBe("still here");
  const bridges = networksOf(stack.settings, await readNetworkRegistry(stack.settings)).map(({ bridge }) => bridge);
  expect(bridges.filter((bridge) => existsSync(`/sys/class/net/${bridge}`))).toEqual(bridges);
  expect(await traces(bridges)).not.toEqual([]);

  await down({ dataDir: stack.dataDir }, () => undefined, AbortSignal.timeout(60_000));
  expect(await traces(bridges)).toEqual([]);

  await stack.up();
  await answersAgain();
  await machinePid("jobs");
});

test("an app that takes no connections runs again after its process was killed", async () => {
  const pid = await machinePid("jobs");
  process.kill(pid, "SIGKILL");
  await eventually(async () => expect(await machinePid("jobs")).not.toBe(pid), 30_000);
});

test("a release deployed before down can be followed by another after up", async () => {
  await source.write("index.html", "and there");
  const { code, stderr } = await slipway(stack.dataDir, ["deploy", source.dir]);
  expect(code, stderr).toBe(0);
  expect(await answers()).toBe("and there");
  await source.write("index.html", "still here");
  const again = await slipway(stack.dataDir, ["deploy", source.dir]);
  expect(again.code, again.stderr).toBe(0);
  await answersAgain();
});

test("the app answers again after its machine's process was killed", async () => {
  const pid = await machinePid();
  process.kill(pid, "SIGKILL");
  await answersAgain();
  expect(await machinePid()).not.toBe(pid);
});

test("the app answers again after the shim of its machine was killed, and runs once", async () => {
  const pid = await machinePid();
  const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
  expect(shimsOf(stack.settings.containerd.socket).map((process) => process.pid)).toContain(shim);
  process.kill(shim, "SIGKILL");
  await eventually(() => expect(existsSync(`/proc/${pid}`)).toBe(false));
  await answersAgain();
  expect(await machinePid()).not.toBe(pid);
});

test.each<ProcessName>(["router", "containerd", "host"])("the app answers after %s was killed, from the same process", async (name) => {
  const pid = await machinePid();
  stack.kill(name);
  await answersAgain();
  await eventually(async () => expect((await stack.status()).ready).toBe(true));
  expect(await machinePid()).toBe(pid);
  await answersAgain();
});

test("down --purge leaves nothing of the instance, its data included", async () => {
  const bridges = networksOf(stack.settings, await readNetworkRegistry(stack.settings)).map(({ bridge }) => bridge);
  const { code, stderr } = await slipway(stack.dataDir, ["down", "--purge"]);
  expect(code, stderr).toBe(0);
  expect(await traces(bridges)).toEqual([]);
  expect(existsSync(stack.dataDir)).toBe(false);
  expect(existsSync(stack.settings.runDir)).toBe(false);
});

/** What of the instance is on the host, found by looking at the host alone. */
async function traces(bridges: readonly string[]): Promise<string[]> {
  const { instance, dataDir, runDir } = stack.settings;
  const ofUs = (text: string) => text.includes(`${dataDir}/`) || text.includes(`${runDir}/`);
  const processes = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && pid !== String(process.pid) && ofUs(commandOf(pid)));
  const mounts = readFileSync("/proc/mounts", "utf8").split("\n").filter(ofUs);
  const links = (await runProgram("ip", ["-o", "link"])).split("\n").filter((line) => bridges.some((bridge) => line.includes(bridge)));
  const tables = (await runProgram("nft", ["list", "tables"])).split("\n").filter((line) => line.includes(instance));
  const namespaces = (await runProgram("ip", ["netns", "list"])).split("\n").filter((line) => line.includes(instance));
  const cgroups = (await cgroupDirs(instanceCgroup(instance))).filter((dir) => existsSync(dir));
  return [...processes.map(commandOf), ...mounts, ...links, ...tables, ...namespaces, ...cgroups];
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** Of the app's live machine, whichever release it is of. */
async function machinePid(app = "web"): Promise<number> {
  const { instance, defaultOrg: org } = stack.settings;
  let pids: number[] = [];
  await eventually(async () => {
    const ids = readdirSync(path.dirname(instancePaths.machineDir(stack.settings, org, machineId))).filter((id) =>
      id.startsWith(`${app}-`),
    );
    expect(ids).toHaveLength(1);
    const dir = (await cgroupDirs(machineCgroup(instance, org, ids[0]!))).find((each) => existsSync(path.join(each, "cgroup.procs")))!;
    pids = readFileSync(path.join(dir, "cgroup.procs"), "utf8").trim().split("\n").filter(Boolean).map(Number);
    expect(pids).toHaveLength(1);
  });
  return pids[0]!;
}
