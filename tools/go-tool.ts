import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { goModuleVersion, goPins, type Pins, toolsSourceDir } from "./cache.ts";
import type { GoOutputRecipe, GoRecipe } from "./recipes.ts";
import { runCommand } from "./run-command.ts";

/** Compiles into `<dir>/bin`; go.sum verifies every module on the way. */
export async function buildGoTool(recipe: GoRecipe, pins: Pins, dir: string, signal: AbortSignal): Promise<void> {
  const bin = path.join(dir, "bin");
  await mkdir(bin, { recursive: true });
  const output = recipe.moduleDir === undefined ? `${bin}/` : path.join(bin, recipe.binaries[0]!);
  await runCommand(["go", ...goBuildArgs(recipe, pins), "-o", output, ...recipe.packages], {
    cwd: path.join(toolsSourceDir, recipe.moduleDir ?? ""),
    env: goEnv(recipe),
    signal,
  });
}

/** Runs one of our own Go programs and keeps what it prints as `<dir>/share/<file>`. */
export async function writeGoOutput(recipe: GoOutputRecipe, dir: string, signal: AbortSignal): Promise<void> {
  const output = await runCommand(["go", "run", "-trimpath", "-mod=readonly", "-buildvcs=false", recipe.package], {
    cwd: toolsSourceDir,
    env: goEnv({}),
    signal,
  });
  await mkdir(path.join(dir, "share"), { recursive: true });
  await writeFile(path.join(dir, "share", recipe.file), output);
}

/** Where Go keeps the source of a module that go.mod pins; it is fetched, and checked by go.sum, when it is not there. */
export async function goModuleDir(module: string, signal: AbortSignal): Promise<string> {
  const output = await runCommand(["go", "mod", "download", "-json", module], { cwd: toolsSourceDir, env: goEnv({}), signal });
  const { Dir } = JSON.parse(output) as { Dir: string };
  return Dir;
}

export function goBuildArgs(recipe: GoRecipe, pins: Pins): string[] {
  const linker = ["-s", "-w"];
  if (recipe.cgoTags !== undefined) linker.push("-extldflags", "-static");
  if (recipe.stamp !== undefined) {
    const { variable, module, prefix } = recipe.stamp;
    linker.push("-X", `${variable}=${prefix}${goModuleVersion(goPins(recipe, pins).goMod, module).slice(1)}`);
  }
  const tags = recipe.cgoTags === undefined ? [] : ["-tags", recipe.cgoTags.join(" ")];
  return ["build", "-trimpath", "-mod=readonly", "-buildvcs=false", ...tags, "-ldflags", linker.join(" ")];
}

/** An older `go` fetches the release that go.mod asks for, through the module proxy. */
function goEnv(recipe: Pick<GoRecipe, "cgoTags">): NodeJS.ProcessEnv {
  return {
    ...process.env,
    CGO_ENABLED: recipe.cgoTags === undefined ? "0" : "1",
    GOFLAGS: "",
    GOWORK: "off",
    GOTOOLCHAIN: "auto",
    GOOS: "linux",
    GOARCH: "",
  };
}
