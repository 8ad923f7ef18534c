import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { buildkitdConfig } from "../../builder/buildkitd-config.ts";
import { solve } from "../../builder/buildkit/solve.ts";
import { awaitReady } from "../../builder/readiness.ts";
import type { SourceServer } from "./source.ts";
import { type StartedProcess, startProcess } from "../start-process.ts";

/** One buildkitd with a cache that outlives its sleep; both paths build with it. */
export type Builder = AsyncDisposable & {
  wake(): Promise<void>;
  sleep(): Promise<void>;
  /** Builds and pushes; answers how many of the steps came from the cache. */
  build(source: Buffer, imageName: string, signal: AbortSignal): Promise<{ readonly steps: number; readonly cachedSteps: number }>;
};

export type BuilderOptions = { readonly binDir: string; readonly dir: string; readonly mirrorHost: string; readonly sources: SourceServer };

export async function openBuilder({ binDir, dir, mirrorHost, sources }: BuilderOptions): Promise<Builder> {
  const socket = path.join(dir, "b.sock");
  const root = path.join(dir, "buildkit");
  const configFile = path.join(dir, "buildkitd.toml");
  const config = buildkitdConfig({ imageHost: mirrorHost, mirror: mirrorHost, socket, maxParallelism: 2 });
  await mkdir(root);
  await writeFile(configFile, config.replace("/var/lib/buildkit", root));
  let awake: StartedProcess | undefined;
  return {
    async wake() {
      awake ??= await startProcess({
        name: "buildkitd",
        // its mounts are its own
        argv: [
          "unshare",
          "--mount",
          path.join(binDir, "buildkitd"),
          "--config",
          configFile,
          "--oci-worker-binary",
          path.join(binDir, "runc"),
        ],
        dir,
        isReady: async () => {
          await awaitReady(socket, { signal: AbortSignal.timeout(30_000), timeoutMs: 30_000 });
          return true;
        },
      });
    },
    async sleep() {
      await awake?.[Symbol.asyncDispose]();
      awake = undefined;
    },
    async build(source, imageName, signal) {
      const contextUrl = sources.offer(source);
      const plan = { contextUrl, dockerfile: "Dockerfile", buildArgs: {}, labels: {}, noCache: false, imageName };
      return await solve({ address: `unix:${socket}`, ...plan }, { signal });
    },
    [Symbol.asyncDispose]: async () => await awake?.[Symbol.asyncDispose](),
  };
}
