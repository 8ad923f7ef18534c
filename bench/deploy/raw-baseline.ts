import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { orgNamespace } from "../../config/paths.ts";
import { systemUser } from "../../config/registry-client.ts";
import type { TestStack } from "../../test/support/stack.ts";

const exec = promisify(execFile);
const script = fileURLToPath(new URL("raw.sh", import.meta.url));
const namespace = "bench-raw";

export type RawBaseline = AsyncDisposable & {
  /** One deploy by hand: milliseconds of each step and of the whole script. What it started is taken away afterwards, untimed. */
  once(): Promise<Record<string, number>>;
};

/** Prepares what the script takes for granted: the builder's image in its namespace, a cache folder, buildkitd's configuration. */
export async function openRawBaseline({ settings }: TestStack, sourceDir: string): Promise<RawBaseline> {
  const { binDir } = settings.tools;
  const work = await mkdtemp(path.join(tmpdir(), "slipway-raw-"));
  const ctr = (...args: string[]) =>
    exec(path.join(binDir, "ctr"), ["-a", settings.containerd.socket, ...args], {
      maxBuffer: 64 << 20,
      env: { ...process.env, PATH: `${binDir}:${process.env.PATH}` },
    });
  await mkdir(path.join(work, "cache"));
  const builder = await copyBuilderImage();
  // the registry itself takes the mirror's place
  const registry = new URL(settings.registry.url).host;
  await writeFile(
    path.join(work, "buildkitd.toml"),
    `[registry."docker.io"]\n  mirrors = ["${registry}/docker.io"]\n[registry."${registry}"]\n  http = true\n`,
  );

  const credentials = Buffer.from(`${systemUser}:${settings.registry.systemToken ?? ""}`).toString("base64");
  await writeFile(path.join(work, "config.json"), JSON.stringify({ auths: { [registry]: { auth: credentials } } }), { mode: 0o600 });

  async function takeAway(): Promise<void> {
    for (const id of ["raw-app", "raw-builder"]) {
      await ctr("-n", namespace, "task", "kill", "-s", "SIGKILL", id).catch(() => undefined);
      await ctr("-n", namespace, "task", "delete", "-f", id).catch(() => undefined);
      await ctr("-n", namespace, "container", "delete", id).catch(() => undefined);
      await ctr("-n", namespace, "snapshot", "rm", id).catch(() => undefined);
    }
  }

  async function copyBuilderImage(): Promise<string> {
    const { stdout } = await ctr("-n", orgNamespace(settings.defaultOrg), "images", "list", "-q");
    const name = stdout.split("\n").find((line) => line.includes("builder"));
    if (name === undefined) throw new Error(`Cannot find the builder's image among: ${stdout}`);
    const tar = path.join(work, "builder.tar");
    await ctr("-n", orgNamespace(settings.defaultOrg), "images", "export", tar, name);
    await ctr("-n", namespace, "images", "import", tar);
    await rm(tar);
    return name;
  }

  return {
    once: async () => {
      const args = [binDir, settings.containerd.socket, namespace, builder, path.join(work, "cache"), sourceDir, work, "8080"];
      const startedAt = performance.now();
      try {
        const { stdout } = await exec(script, args, { timeout: 60_000, env: { ...process.env, DOCKER_CONFIG: work } });
        const total = Math.round(performance.now() - startedAt);
        const steps = stdout
          .trim()
          .split("\n")
          .map((line) => line.split(" "));
        return { total, ...Object.fromEntries(steps.map(([name, ms]) => [name!, Number(ms)])) };
      } finally {
        await takeAway();
      }
    },
    [Symbol.asyncDispose]: async () => {
      await takeAway();
      await ctr("namespaces", "rm", namespace).catch(() => undefined);
      await rm(work, { recursive: true, force: true });
    },
  };
}
