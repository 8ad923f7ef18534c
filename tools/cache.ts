import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Recipe } from "./recipes.ts";

/** Holds go.mod, go.sum, wheels.txt and our Go programs; beside this file in the checkout and in a packed install. */
export const toolsSourceDir = path.dirname(fileURLToPath(import.meta.url));

/** `SLIPWAY_CACHE`, else `slipway` in the user's cache folder (XDG Base Directory Specification). */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.SLIPWAY_CACHE) return path.resolve(env.SLIPWAY_CACHE);
  return path.join(env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "slipway");
}

/** Where Node keeps what it compiled (`NODE_COMPILE_CACHE`); cli/slipway.mjs says the same of itself. */
export const compiledDir = (env: NodeJS.ProcessEnv = process.env): string => path.join(cacheDir(env), "compiled");

export type Pins = { readonly goMod: string; readonly goSum: string; readonly wheels: string };

export function readPins(): Pins {
  const read = (name: string) => readFileSync(path.join(toolsSourceDir, name), "utf8");
  return { goMod: read("go.mod"), goSum: read("go.sum"), wheels: read("wheels.txt") };
}

/** The pins of the module that a Go tool is built in. */
export function goPins(recipe: Recipe, pins: Pins): Pick<Pins, "goMod" | "goSum"> {
  if (recipe.kind !== "go" || recipe.moduleDir === undefined) return pins;
  const read = (name: string) => readFileSync(path.join(toolsSourceDir, recipe.moduleDir!, name), "utf8");
  return { goMod: read("go.mod"), goSum: read("go.sum") };
}

/** Whatever decides the bytes of a tool: its recipe, and its pins with all their dependencies. */
export function toolKey(recipe: Recipe, pins: Pins): string {
  const { goMod, goSum } = goPins(recipe, pins);
  const pinned = recipe.kind === "wheel" ? wheelPin(pins.wheels, recipe.project) : `${goMod}\n${goSum}`;
  const source = recipe.kind === "go-output" ? readFileSync(path.join(toolsSourceDir, recipe.package, "main.go"), "utf8") : "";
  return shortDigest(JSON.stringify([process.arch, recipe, pinned, source]));
}

export function shortDigest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** The one line of `wheels.txt` for a project: version and hash. */
export function wheelPin(wheels: string, project: string): string {
  const line = wheels.split("\n").find((text) => text.startsWith(`${project}==`));
  if (line === undefined) throw new Error(`Cannot find "${project}" in tools/wheels.txt`);
  return line;
}

/** The version of a module as required in go.mod, with its leading `v`. */
export function goModuleVersion(goMod: string, module: string): string {
  for (const line of goMod.split("\n")) {
    const [name, version] = line
      .trim()
      .replace(/^require /, "")
      .split(" ");
    if (name === module && version !== undefined) return version;
  }
  throw new Error(`Cannot find module "${module}" in tools/go.mod`);
}
