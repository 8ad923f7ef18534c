import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readyFile } from "../../config/ready.ts";
import { defaultSettings, preferredPorts } from "../../stack/default-settings.ts";
import { s3Server } from "../../stack/engines.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { installTools } from "../../tools/install.ts";
import { distributionConfig } from "./distribution-config.ts";
import type { S3Access } from "./s3-access.ts";

export type Contestant = {
  readonly name: "slipway" | "distribution";
  readonly url: string;
  readonly pid: number;
  /** Takes everything out of its bucket; not while it works. */
  empty(): Promise<void>;
};

export type Arena = AsyncDisposable & {
  readonly s3: S3Access;
  readonly slipway: Contestant;
  readonly distribution: Contestant;
  /** CPU time of the S3 server counts as well */
  readonly s3Pid: number;
};

const readyTimeoutMs = 20_000;

/** Both registries, each with a bucket of its own on one versitygw; neither asks for tokens, neither redirects. */
export async function openArena(profileDir?: string): Promise<Arena> {
  const tools = await installTools({
    groups: ["bench"],
    progress: (line) => console.error(line),
    signal: AbortSignal.timeout(20 * 60_000),
  });
  await using stack = new AsyncDisposableStack();
  const dir = await mkdtemp(path.join(tmpdir(), "slipway-bench-"));
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const run = async (name: string, argv: readonly string[], env: Record<string, string>, isReady: () => Promise<boolean>) => {
    const logFile = path.join(dir, `${name}.log`);
    const log = openSync(logFile, "a");
    const child = spawn(argv[0]!, argv.slice(1), { env: { ...process.env, ...env }, stdio: ["ignore", log, log], cwd: dir });
    closeSync(log);
    stack.defer(() => endProcess(child));
    for (const deadline = Date.now() + readyTimeoutMs; !(await isReady()); await sleep(20)) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${name} does not serve:\n${await readFile(logFile, "utf8")}`);
    }
    return child.pid!;
  };

  const buckets = path.join(dir, "s3");
  await mkdir(path.join(buckets, "distribution"), { recursive: true });
  const keys = { region: "us-east-1", accessKeyId: "slipway-bench", secretAccessKey: "slipway-bench-secret" };
  const [s3Port, slipwayPort, distributionPort] = [await anyFreePort(), await anyFreePort(), await anyFreePort()];
  const s3 = { ...keys, endpoint: `http://127.0.0.1:${s3Port}` };
  const s3Spec = s3Server({ binDir: tools.binDir, dir: buckets, port: s3Port, ...keys });
  const s3Pid = await run("versitygw", s3Spec.argv, s3Spec.env, () => answers(s3.endpoint));

  const slipwayOf = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "bench",
    tools,
    ports: { ...preferredPorts, registry: slipwayPort, s3: s3Port, metrics: await anyFreePort() },
    s3Keys: keys,
    ipv4Pool: "10.99.0.0/16",
  });
  const settingsFile = path.join(dir, "settings.json");
  await writeFile(settingsFile, JSON.stringify({ ...slipwayOf, s3: { ...slipwayOf.s3, bucket: "slipway" } }));
  const profile = profileDir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${path.resolve(profileDir)}`];
  const [node, ...main] = entryPoint("registry/main");
  const slipwayReady = async () => existsSync(readyFile(slipwayOf.runDir, "registry"));
  const slipwayPid = await run("slipway", [node, ...profile, ...main], { SLIPWAY_SETTINGS: settingsFile }, slipwayReady);

  const distributionUrl = `http://127.0.0.1:${distributionPort}`;
  const configFile = path.join(dir, "distribution.yml");
  await writeFile(configFile, distributionConfig({ port: distributionPort, bucket: "distribution", s3 }));
  const distributionArgv = [path.join(tools.binDir, "registry"), "serve", configFile];
  const distributionPid = await run("distribution", distributionArgv, { OTEL_TRACES_EXPORTER: "none" }, () =>
    answers(`${distributionUrl}/v2/`),
  );

  const contestant = (name: Contestant["name"], url: string, pid: number): Contestant => ({
    name,
    url,
    pid,
    empty: async () => {
      const bucket = path.join(buckets, name);
      for (const entry of await readdir(bucket)) await rm(path.join(bucket, entry), { recursive: true, force: true });
    },
  });
  const opened = stack.move();
  return {
    s3,
    s3Pid,
    slipway: contestant("slipway", slipwayOf.registry.url, slipwayPid),
    distribution: contestant("distribution", distributionUrl, distributionPid),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
    () => true,
    () => false,
  );
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const patience = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await ended;
  clearTimeout(patience);
}
