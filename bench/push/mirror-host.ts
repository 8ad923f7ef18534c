import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { orgNamespace } from "../../config/paths.ts";
import { readyFile } from "../../config/ready.ts";
import { ensureNamespace } from "../../containerd/client.ts";
import { removeNamespace } from "../../containerd/remove-namespace.ts";
import { createMirrorAdmin } from "../../mirror/admin-client.ts";
import { entryPoint } from "../../stack/entry-point.ts";
import { anyFreePort } from "../../stack/free-port.ts";
import { makeOwnedDir, removeOwnedDir } from "../../test/support/owned-dir.ts";
import { installTools } from "../../tools/install.ts";
import { benchSettings } from "../bench-settings.ts";
import { type BenchContainerd, startContainerd } from "../start-containerd.ts";
import { startProcess } from "../start-process.ts";

const org = "bench";
const rawNamespace = "bench-raw";

/** One containerd, the mirror over it, and `ctr` beside the mirror: what both store goes onto the same disk through the same daemon. */
export type MirrorHost = AsyncDisposable & {
  readonly dir: string;
  readonly mirror: { readonly url: string; readonly org: string; readonly pid: number };
  readonly containerd: BenchContainerd;
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
  const containerd = stack.use(await startContainerd({ binDir: tools.binDir, dir }));
  const settings = benchSettings({ dir, tools, containerdSocket: containerd.socket });
  const port = await anyFreePort();
  // with the port in the image host, the mirror listens there alone
  const registry = { ...settings.registry, imageHost: `registry.slipway.internal:${port}` };
  const mirrorSettings = { ...settings, registry, mirror: { ...settings.mirror, port, publicFallback: false } };
  const settingsFile = path.join(dir, "settings.json");
  await writeFile(settingsFile, JSON.stringify(mirrorSettings), { mode: 0o600 });
  const profile = profileDir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${path.resolve(profileDir)}`];
  const [node, ...main] = entryPoint("mirror/main");
  const mirrorReady = async () => existsSync(readyFile(settings.runDir, "mirror"));
  const mirror = stack.use(
    await startProcess({
      name: "mirror",
      argv: [node, ...profile, ...main],
      env: { SLIPWAY_SETTINGS: settingsFile },
      dir,
      isReady: mirrorReady,
    }),
  );

  const namespaces = [orgNamespace(org), rawNamespace];
  const prepare = async () => {
    for (const namespace of namespaces) await ensureNamespace(containerd, namespace, AbortSignal.timeout(10_000));
    await createMirrorAdmin(settings.mirror.adminSocket).putOrg(org, ["127.0.0.1"], AbortSignal.timeout(10_000));
  };
  await prepare();
  const opened = stack.move();
  return {
    dir,
    mirror: { url: `http://127.0.0.1:${port}`, org, pid: mirror.pid },
    containerd,
    rawNamespace,
    ctr: (args, stdinFile) => runCtr([path.join(tools.binDir, "ctr"), "-a", containerd.socket, "-n", rawNamespace, ...args], stdinFile),
    async empty() {
      for (const namespace of namespaces) {
        await removeNamespace(containerd, namespace, settings.containerd.snapshotter, AbortSignal.timeout(120_000));
      }
      await prepare();
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function runCtr([command, ...args]: readonly [string, ...string[]], stdinFile?: string): Promise<void> {
  const stdin = stdinFile === undefined ? "ignore" : openSync(stdinFile, "r");
  const child = spawn(command, args, { stdio: [stdin, "ignore", "pipe"] });
  if (stdin !== "ignore") closeSync(stdin);
  const stderr = child.stderr?.toArray();
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`ctr ${args.join(" ")} ended with ${code}: ${Buffer.concat((await stderr) ?? []).toString()}`);
}
