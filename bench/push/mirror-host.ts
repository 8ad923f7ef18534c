import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { orgNamespace } from "../../config/paths.ts";
import { readyFile } from "../../config/ready.ts";
import { type Containerd, ensureNamespace, openContainerd } from "../../containerd/client.ts";
import { removeNamespace } from "../../containerd/remove-namespace.ts";
import { createMirrorAdmin } from "../../mirror/admin-client.ts";
import { defaultSettings, preferredPorts } from "../../stack/default-settings.ts";
import { containerdConfig } from "../../stack/engines.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir, tieToDir } from "../../test/support/owned-dir.ts";
import { installTools } from "../../tools/install.ts";

const org = "bench";
const rawNamespace = "bench-raw";
const readyTimeoutMs = 30_000;

/** One containerd, the mirror over it, and `ctr` beside the mirror: what both store goes onto the same disk through the same daemon. */
export type MirrorHost = AsyncDisposable & {
  readonly dir: string;
  readonly mirror: { readonly url: string; readonly org: string; readonly pid: number };
  readonly containerd: Containerd & { readonly pid: number };
  /** that of `ctr` */
  readonly rawNamespace: string;
  /** Runs `ctr` in a namespace of its own, with a file as its standard input if one is named. */
  ctr(args: readonly string[], stdinFile?: string): Promise<void>;
  /** Takes everything out of both namespaces and waits until the collector has deleted the bytes. */
  empty(): Promise<void>;
};

/** `profileDir`: the mirror writes a CPU profile there when it ends. */
export async function openMirrorHost(profileDir?: string): Promise<MirrorHost> {
  const tools = await installTools({ groups: [], progress: (line) => console.error(line), signal: AbortSignal.timeout(20 * 60_000) });
  await using stack = new AsyncDisposableStack();
  const dir = await makeOwnedDir();
  stack.defer(() => removeOwnedDir(dir));
  const run = async (name: string, argv: readonly string[], env: Record<string, string>, isReady: () => Promise<boolean>) => {
    const logFile = path.join(dir, `${name}.log`);
    const log = openSync(logFile, "a");
    const child = spawn(argv[0]!, argv.slice(1), { env: { ...process.env, ...env }, stdio: ["ignore", log, log], cwd: dir });
    closeSync(log);
    stack.defer(() => endProcess(child));
    await tieToDir(dir, name, child.pid);
    for (const deadline = Date.now() + readyTimeoutMs; !(await isReady()); await sleep(20)) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${name} does not serve:\n${await readFile(logFile, "utf8")}`);
    }
    return child.pid!;
  };

  const PATH = `${tools.binDir}:${process.env.PATH}`;
  const configFile = path.join(dir, "config.toml");
  const socket = path.join(dir, "c.sock");
  const options = { binDir: tools.binDir, root: path.join(dir, "root"), state: path.join(dir, "state"), socket, configFile };
  await writeFile(configFile, containerdConfig(options));
  const containerd = openContainerd(socket);
  stack.use(containerd);
  const containerdPid = await run("containerd", [path.join(tools.binDir, "containerd"), "--config", configFile], { PATH }, () =>
    containerd.version.version({}, { signal: AbortSignal.timeout(2_000) }).then(
      () => true,
      () => false,
    ),
  );

  const settings = defaultSettings({
    dataDir: path.join(dir, "data"),
    runDir: path.join(dir, "run"),
    hostId: "bench",
    tools,
    ports: preferredPorts,
    s3Keys: { accessKeyId: "none", secretAccessKey: "none" },
    ipv4Pool: "10.99.0.0/16",
    containerdSocket: socket,
  });
  const port = await anyFreePort();
  // with the port in the image host, the mirror listens there alone
  const registry = { ...settings.registry, imageHost: `registry.slipway.internal:${port}` };
  const mirrorSettings = { ...settings, registry, mirror: { ...settings.mirror, port, publicFallback: false } };
  const settingsFile = path.join(dir, "settings.json");
  await writeFile(settingsFile, JSON.stringify(mirrorSettings), { mode: 0o600 });
  const profile = profileDir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${path.resolve(profileDir)}`];
  const [node, ...main] = entryPoint("mirror/main");
  const mirrorReady = async () => existsSync(readyFile(settings.runDir, "mirror"));
  const mirrorPid = await run("mirror", [node, ...profile, ...main], { SLIPWAY_SETTINGS: settingsFile }, mirrorReady);

  const namespaces = [orgNamespace(org), rawNamespace];
  const prepare = async () => {
    for (const namespace of namespaces) await ensureNamespace(containerd, namespace, AbortSignal.timeout(10_000));
    await createMirrorAdmin(settings.mirror.adminSocket).putOrg(org, ["127.0.0.1"], AbortSignal.timeout(10_000));
  };
  await prepare();
  const opened = stack.move();
  return {
    dir,
    mirror: { url: `http://127.0.0.1:${port}`, org, pid: mirrorPid },
    containerd: { ...containerd, pid: containerdPid },
    rawNamespace,
    ctr: (args, stdinFile) => runCtr([path.join(tools.binDir, "ctr"), "-a", socket, "-n", rawNamespace, ...args], PATH, stdinFile),
    async empty() {
      for (const namespace of namespaces) {
        await removeNamespace(containerd, namespace, settings.containerd.snapshotter, AbortSignal.timeout(120_000));
      }
      await prepare();
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function runCtr([command, ...args]: readonly [string, ...string[]], PATH: string, stdinFile?: string): Promise<void> {
  const stdin = stdinFile === undefined ? "ignore" : openSync(stdinFile, "r");
  const child = spawn(command, args, { stdio: [stdin, "ignore", "pipe"], env: { ...process.env, PATH } });
  if (stdin !== "ignore") closeSync(stdin);
  const stderr = child.stderr?.toArray();
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`ctr ${args.join(" ")} ended with ${code}: ${Buffer.concat((await stderr) ?? []).toString()}`);
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const patience = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await ended;
  clearTimeout(patience);
}
