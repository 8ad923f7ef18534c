import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inject } from "vitest";
import { openContainerd } from "../../containerd/client.ts";
import { containerdConfig } from "../../stack/engines.ts";

export type OwnContainerd = AsyncDisposable & { readonly socket: string; readonly configFile: string };

/** A containerd of the test's own, ended and gone with its files at the scope's end. */
export async function startContainerd(sharing: "isolated" | "shared" = "isolated"): Promise<OwnContainerd> {
  const binDir = inject("toolsBinDir");
  const dir = await mkdtemp(path.join(tmpdir(), "ctr-"));
  // machines run as other users, and reach their root filesystem through this folder
  await chmod(dir, 0o711);
  const files = { root: path.join(dir, "root"), state: path.join(dir, "state"), socket: path.join(dir, "c.sock") };
  const configFile = path.join(dir, "config.toml");
  const config = containerdConfig({ binDir, ...files, configFile });
  if (!config.includes('"isolated"')) throw new Error("the containerd configuration does not say isolated");
  await writeFile(configFile, config.replace('"isolated"', `"${sharing}"`));
  const child = spawn(path.join(binDir, "containerd"), ["--config", configFile], {
    stdio: "ignore",
    env: { ...process.env, PATH: `${binDir}:${process.env.PATH}` },
  });
  const exited = once(child, "exit");
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
  stack.defer(async () => {
    child.kill("SIGTERM");
    await exited;
  });
  await using containerd = openContainerd(files.socket);
  for (let tries = 0; ; tries += 1) {
    try {
      await containerd.version.version({}, { signal: AbortSignal.timeout(2_000) });
      return { socket: files.socket, configFile, [Symbol.asyncDispose]: () => stack.disposeAsync() };
    } catch (error) {
      if (tries === 150) throw error;
      await sleep(100);
    }
  }
}
