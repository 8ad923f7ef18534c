import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { readyFile } from "../config/ready.ts";
import type { Settings } from "../config/settings.ts";
import { entryPoint } from "../stack/entry-point.ts";
import { type StartedProcess, startProcess } from "./start-process.ts";

/** A service of ours as a process of its own, as `slipway up` starts it. `dir` is an owned folder. */
export async function startService(name: "mirror" | "registry", settings: Settings, dir: string): Promise<StartedProcess> {
  const settingsFile = path.join(dir, "settings.json");
  await writeFile(settingsFile, JSON.stringify(settings), { mode: 0o600 });
  return await startProcess({
    name,
    argv: entryPoint(`${name}/main`),
    env: { SLIPWAY_SETTINGS: settingsFile },
    dir,
    isReady: async () => existsSync(readyFile(settings.runDir, name)),
  });
}
