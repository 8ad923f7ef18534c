import path from "node:path";
import { MachineError } from "./errors.ts";
import type { ImageConfig } from "./image-config.ts";
import type { MachinePlan } from "./types.ts";

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * What runs: the plan's args, else the image's entrypoint and command; the image's environment under the plan's.
 * @throws MachineError IMAGE_INVALID when there is nothing to run or the working directory is not absolute.
 */
export function processCommand(
  plan: Pick<MachinePlan, "args" | "env" | "image">,
  image: ImageConfig,
): { readonly args: readonly string[]; readonly env: readonly string[]; readonly cwd: string } {
  const args = plan.args ?? [...image.entrypoint, ...image.command];
  if (args.length === 0 || args[0] === "") {
    throw new MachineError(
      "IMAGE_INVALID",
      `Cannot start image "${plan.image.name}": it has neither ENTRYPOINT nor CMD; add one to the Dockerfile or set a command in slipway.toml`,
    );
  }
  const cwd = image.workingDir === "" ? "/" : image.workingDir;
  if (!path.posix.isAbsolute(cwd)) {
    throw new MachineError("IMAGE_INVALID", `Cannot start image "${plan.image.name}": WORKDIR "${cwd}" is not an absolute path`);
  }
  return { args, env: environment(image.env, plan.env), cwd: path.posix.normalize(cwd) };
}

function environment(image: readonly string[], plan: Readonly<Record<string, string>>): readonly string[] {
  const merged = new Map<string, string>();
  for (const entry of [defaultPath, ...image]) {
    const at = entry.indexOf("=");
    if (at > 0) merged.set(entry.slice(0, at), entry.slice(at + 1));
  }
  for (const [name, value] of Object.entries(plan)) merged.set(name, value);
  return [...merged].map(([name, value]) => `${name}=${value}`);
}
