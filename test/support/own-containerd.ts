import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inject } from "vitest";
import { openContainerd } from "../../containerd/client.ts";
import { containerdConfig } from "../../stack/engines.ts";
import { containerdSocketIn, makeOwnedDir, removeOwnedDir, tieToDir } from "./owned-dir.ts";

export type OwnContainerd = AsyncDisposable & { readonly socket: string; readonly configFile: string };

/** A containerd of the test's own, ended and gone with its files at the scope's end. */
export async function startContainerd(sharing: "isolated" | "shared" = "isolated"): Promise<OwnContainerd> {
  const binDir = inject("toolsBinDir");
  const dir = await makeOwnedDir();
  const files = { root: path.join(dir, "root"), state: path.join(dir, "state"), socket: containerdSocketIn(dir) };
  const configFile = path.join(dir, "config.toml");
  const config = containerdConfig({ binDir, ...files, configFile });
  if (!config.includes('"isolated"')) throw new Error("the containerd configuration does not say isolated");
  await writeFile(configFile, config.replace('"isolated"', `"${sharing}"`));
  const child = spawn(path.join(binDir, "containerd"), ["--config", configFile], {
    stdio: "ignore",
    env: { ...process.env, PATH: `${binDir}:${process.env.PATH}` },
  });
  const exited = once(child, "exit");
  await tieToDir(dir, "containerd", child.pid);
  const stack = new AsyncDisposableStack();
  stack.defer(() => removeOwnedDir(dir));
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
