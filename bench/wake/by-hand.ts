import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { builderMachineId } from "../../machines/types.ts";
import { awaitReady } from "../../builder/readiness.ts";
import { orgNamespace } from "../../config/paths.ts";
import { runProgram } from "../../machines/run-program.ts";
import type { RuntimeSpec } from "../../machines/oci-spec.ts";
import { tieToDir } from "../../test/support/owned-dir.ts";
import type { WakeHost } from "./host.ts";

export type ByHand = AsyncDisposable & {
  /** From `runc run` to the first answer, in milliseconds. */
  start(signal: AbortSignal): Promise<number>;
  stop(signal: AbortSignal): Promise<void>;
  /** As if it had never run. */
  dropCache(): Promise<void>;
};

const id = "bench-wake-by-hand";

/**
 * The same buildkitd in a bundle of `runc`: the machine's own spec, its namespaces of network and user among it, on a copy of the image's
 * root filesystem, with a cache and a socket of its own.
 */
export async function openByHand({ dir, settings, containerd }: WakeHost, org: string, signal: AbortSignal): Promise<ByHand> {
  await using stack = new AsyncDisposableStack();
  const { binDir } = settings.tools;
  const work = await mkdtemp(path.join(dir, "by-hand-"));
  stack.defer(() => rm(work, { recursive: true, force: true }));
  const [rootfs, cache, socketDir, pidFile] = ["rootfs", "cache", "socket", "pid"].map((name) => path.join(work, name)) as [
    string,
    string,
    string,
    string,
  ];
  // the builder's root is another user there
  await chmod(work, 0o711);
  for (const each of [rootfs, cache, socketDir]) await mkdir(each);
  const { container } = await containerd.namespace(orgNamespace(org)).containers.get({ id: builderMachineId }, { signal });
  const ctr = (...args: string[]) =>
    runProgram(path.join(binDir, "ctr"), ["-a", containerd.socket, "-n", orgNamespace(org), ...args], { signal });
  const spec = JSON.parse(Buffer.from(container!.spec!.value).toString()) as RuntimeSpec;
  const image = path.join(work, "image");
  await mkdir(image);
  await ctr("images", "mount", container!.image, image);
  await runProgram("cp", ["--archive", "--no-target-directory", image, rootfs], { signal });
  await ctr("images", "unmount", "--rm", image);
  const owner = spec.linux.uidMappings?.[0]?.hostID ?? 0;
  await runProgram("chown", ["--recursive", "--no-dereference", `${owner}:${owner}`, rootfs], { signal });
  const own: Readonly<Record<string, string>> = { "/var/lib/buildkit": cache, "/run/buildkit": socketDir };
  const mounts = spec.mounts.map((mount) => ({ ...mount, source: own[mount.destination] ?? mount.source }));
  const bundle = {
    ...spec,
    root: { ...spec.root, path: rootfs },
    mounts,
    linux: { ...spec.linux, cgroupsPath: `${spec.linux.cgroupsPath}-by-hand` },
  };
  await writeFile(path.join(work, "config.json"), JSON.stringify(bundle));
  const runc = async (...args: string[]): Promise<void> => {
    // to a file: a pipe would stay open with the buildkitd that it starts
    const log = openSync(path.join(work, "log"), "a");
    const child = spawn(path.join(binDir, "runc"), ["--root", path.join(work, "state"), ...args], { stdio: ["ignore", log, log] });
    closeSync(log);
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`runc ${args.join(" ")} ended with ${code}: ${await readFile(path.join(work, "log"), "utf8")}`);
  };
  stack.defer(() => runc("delete", "--force", id));
  const opened = stack.move();
  return {
    async start(startSignal) {
      const startedAtMs = performance.now();
      await runc("run", "--detach", "--bundle", work, "--pid-file", pidFile, id);
      await awaitReady(path.join(socketDir, "buildkitd.sock"), { signal: startSignal, timeoutMs: 30_000 });
      const tookMs = performance.now() - startedAtMs;
      await tieToDir(dir, "by-hand", Number(await readFile(pidFile, "utf8")));
      return tookMs;
    },
    async stop(stopSignal) {
      const pid = await readFile(pidFile, "utf8");
      await runc("kill", id, "TERM");
      while (existsSync(`/proc/${pid}/exe`)) await sleep(10, undefined, { signal: stopSignal });
      await runc("delete", "--force", id);
    },
    async dropCache() {
      await rm(cache, { recursive: true, force: true });
      await mkdir(cache);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
