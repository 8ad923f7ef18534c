import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { readyFile } from "../../config/ready.ts";
import { preferredPorts } from "../../stack/default-settings.ts";
import { s3Server } from "../../stack/engines.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir } from "../../test/support/owned-dir.ts";
import { installTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { startProcess } from "../start-process.ts";
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

/** Both registries, each with a bucket of its own on one versitygw; neither asks for tokens, neither redirects. */
export async function openArena(profileDir?: string): Promise<Arena> {
  const tools = await installTools({
    groups: ["bench"],
    progress: (line) => console.error(line),
    signal: AbortSignal.timeout(20 * 60_000),
  });
  await using stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const run = async (
    name: string,
    argv: readonly [string, ...string[]],
    env: Readonly<Record<string, string>>,
    isReady: () => Promise<boolean>,
  ): Promise<number> => stack.use(await startProcess({ name, argv, env, dir, isReady })).pid;

  const buckets = path.join(dir, "s3");
  await mkdir(path.join(buckets, "distribution"), { recursive: true });
  const keys = { region: "us-east-1", accessKeyId: "slipway-bench", secretAccessKey: "slipway-bench-secret" };
  const [s3Port, slipwayPort, distributionPort] = [await anyFreePort(), await anyFreePort(), await anyFreePort()];
  const s3 = { ...keys, endpoint: `http://127.0.0.1:${s3Port}` };
  const s3Spec = s3Server({ binDir: tools.binDir, dir: buckets, port: s3Port, ...keys });
  const s3Pid = await run("versitygw", s3Spec.argv, s3Spec.env, () => answers(s3.endpoint));

  const ports = { ...preferredPorts, registry: slipwayPort, s3: s3Port, metrics: await anyFreePort() };
  const slipwayOf = benchSettings({ dir, tools, ports, s3Keys: keys });
  const settingsFile = path.join(dir, "settings.json");
  await writeFile(settingsFile, JSON.stringify({ ...slipwayOf, s3: { ...slipwayOf.s3, bucket: "slipway" } }));
  const profile = profileDir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${path.resolve(profileDir)}`];
  const [node, ...main] = entryPoint("registry/main");
  const slipwayReady = async () => existsSync(readyFile(slipwayOf.runDir, "registry"));
  const slipwayPid = await run("slipway", [node, ...profile, ...main], { SLIPWAY_SETTINGS: settingsFile }, slipwayReady);

  const distributionUrl = `http://127.0.0.1:${distributionPort}`;
  const configFile = path.join(dir, "distribution.yml");
  await writeFile(configFile, distributionConfig({ port: distributionPort, bucket: "distribution", s3 }));
  const distributionArgv: [string, ...string[]] = [path.join(tools.binDir, "registry"), "serve", configFile];
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
