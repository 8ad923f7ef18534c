import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Settings } from "../config/settings.ts";
import type { Containerd } from "../containerd/client.ts";
import { MachineError } from "./errors.ts";
import type { MachinePlan } from "./types.ts";

/** runc, of which the shim takes options. */
export const runcRuntime = "io.containerd.runc.v2";

/** The name of containerd's runtime for such a machine. */
export function runtimeOf({ machines, builder }: Pick<Settings, "machines" | "builder">, plan: Pick<MachinePlan, "isolation">): string {
  return (plan.isolation === "privileged" ? builder.runtime : machines?.runtime) ?? runcRuntime;
}

/** What containerd starts for it: a path as it is, else a program by the last two parts of the name. */
export function shimOf(runtime: string): string {
  return path.isAbsolute(runtime) ? runtime : `containerd-shim-${runtime.split(".").slice(-2).join("-")}`;
}

/** Looks for those that the settings name, if they name any and containerd's environment can be read. @throws as {@link requireShims} */
export async function requireRuntimes(
  containerd: Containerd,
  settings: Pick<Settings, "machines" | "builder">,
  signal: AbortSignal,
): Promise<void> {
  if (settings.machines?.runtime === undefined && settings.builder.runtime === undefined) return;
  const searchPath = await searchPathOf(containerd, signal);
  if (searchPath !== undefined) requireShims(settings, searchPath);
}

/** @throws MachineError RUNTIME_MISSING naming the setting, the program and where it was looked for */
export function requireShims(settings: Pick<Settings, "machines" | "builder">, searchPath: string): void {
  const named = { "machines.runtime": settings.machines?.runtime, "builder.runtime": settings.builder.runtime };
  for (const [setting, runtime] of Object.entries(named)) {
    if (runtime === undefined) continue;
    const shim = shimOf(runtime);
    const places = path.isAbsolute(shim) ? [shim] : searchPath.split(":").map((dir) => path.join(dir, shim));
    if (places.some(isProgram)) continue;
    throw new MachineError(
      "RUNTIME_MISSING",
      `Cannot use runtime "${runtime}" of ${setting}: found no program "${shim}", expected it on containerd's PATH (${searchPath}); ` +
        "install it there, or correct the setting",
    );
  }
}

/** PATH of a containerd that runs; undefined where its environment cannot be read. */
export async function searchPathOf(containerd: Containerd, signal: AbortSignal): Promise<string | undefined> {
  const { pid } = await containerd.introspection.server({}, { signal });
  const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => undefined);
  return environment
    ?.split("\0")
    .find((entry) => entry.startsWith("PATH="))
    ?.slice("PATH=".length);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
