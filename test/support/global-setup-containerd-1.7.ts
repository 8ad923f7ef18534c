import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { containerdDaemon } from "../../stack/engines.ts";
import { installTools } from "../../tools/install.ts";
import { containerdCommand, containerdConfigOf } from "./containerd-release.ts";
import { startAll } from "./global-setup.ts";
import { containerdSocketIn, makeOwnedDir, removeOwnedDir, sweepOwnedDirs } from "./owned-dir.ts";

/** A containerd 1.7 in the place of the stack's, and nothing else: for the tests of what the mirror asks of containerd. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await sweepOwnedDirs();
  const { binDir } = await installTools({
    groups: ["test"],
    progress: (line) => console.error(line),
    signal: AbortSignal.timeout(20 * 60_000),
  });
  const dir = await makeOwnedDir();
  try {
    const containerd = {
      binDir,
      root: path.join(dir, "root"),
      state: path.join(dir, "state"),
      socket: containerdSocketIn(dir),
      configFile: path.join(dir, "containerd.toml"),
    };
    await writeFile(containerd.configFile, containerdConfigOf("1.7", containerd));
    const spec = containerdDaemon(containerd);
    await startAll(dir, [{ ...spec, argv: [containerdCommand("1.7", binDir), ...spec.argv.slice(1)] }]);
    project.provide("toolsBinDir", binDir);
    project.provide("containerdSocket", containerd.socket);
    project.provide("containerdRelease", "1.7");
  } catch (error) {
    await removeOwnedDir(dir);
    throw error;
  }
  return async () => await removeOwnedDir(dir);
}
