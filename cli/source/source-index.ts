import { createHash } from "node:crypto";
import { readFile, readdir, realpath, rm, stat } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { replaceFile } from "../../config/write-file-atomic.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import type { SourcePack } from "../../oci/source-manifest.ts";
import { cacheDir } from "../../tools/cache.ts";
import type { PackPlan } from "./cut-packs.ts";

/** What is known of the packs of one source directory: those whose files have not changed since need not be read. */
export type SourceIndex = {
  /** Undefined when it has to be made to know. */
  find(plan: PackPlan): SourcePack | undefined;
  /** Remembers these and no others. What cannot be written is not remembered. */
  keep(packs: readonly { readonly plan: PackPlan; readonly pack: SourcePack }[]): Promise<void>;
};

export type SourceIndexOptions = { readonly environment?: NodeJS.ProcessEnv; readonly nowMs?: () => number };

/** A file that changed so short a time before it was listed may change once more without its times showing it, as git has it. */
const racyMs = 2_000;
const version = 1;
/** A directory that did not change for so long, or is gone, is read as a whole again. */
const keptForMs = 30 * 24 * 60 * 60_000;
const stored = z.strictObject({
  version: z.literal(version),
  directory: z.string(),
  packs: z.record(z.string(), z.strictObject({ digest: digestSchema, size: z.number().int().nonnegative() })),
});

/**
 * Opens the index of a directory in Slipway's cache folder of the user (`sources` in it). One that
 * is broken or another version's counts as empty. Must be called before the directory is listed.
 */
export async function openSourceIndex(
  directory: string,
  { environment = process.env, nowMs = Date.now }: SourceIndexOptions = {},
): Promise<SourceIndex> {
  const openedAtMs = nowMs();
  const real = await realpath(directory);
  const file = path.join(cacheDir(environment), "sources", `${sha256(real).slice(0, 32)}.json`);
  const known = await read(file, real);
  const keys = new WeakMap<PackPlan, string>();
  const keyOf = (plan: PackPlan): string => {
    const key = keys.get(plan) ?? keyFor(plan);
    keys.set(plan, key);
    return key;
  };
  return {
    find: (plan) => known[keyOf(plan)],
    async keep(packs) {
      const settled = packs.filter(({ plan }) => newestChangeMs(plan) < openedAtMs - racyMs);
      const next = Object.fromEntries(settled.map(({ plan, pack }) => [keyOf(plan), { digest: pack.digest, size: pack.size }]));
      if (sameKeys(next, known)) return;
      // what cannot be written, or a power cut breaks, is read again by the next deploy
      await replaceFile(file, JSON.stringify({ version, directory: real, packs: next })).catch(() => undefined);
      await sweepOld(path.dirname(file), openedAtMs).catch(() => undefined);
    },
  };
}

async function read(file: string, directory: string): Promise<Readonly<Record<string, SourcePack>>> {
  try {
    const found = stored.parse(JSON.parse(await readFile(file, "utf8")));
    if (found.directory === directory) return found.packs;
  } catch {
    // absent, broken or foreign
  }
  return {};
}

async function sweepOld(folder: string, nowMs: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = path.join(folder, name);
    if ((await stat(file)).mtimeMs < nowMs - keptForMs) await rm(file, { force: true });
  }
}

/** All that a pack's bytes come from, but for the content of files, whose identities stand for it. */
function keyFor({ part, isLast }: PackPlan): string {
  const hash = createHash("sha256").update(isLast ? "last\n" : "\n");
  if (part.kind === "part") hash.update(`${part.first} ${part.lengthBytes}\n`);
  for (const entry of part.kind === "part" ? [part.entry] : part.entries) {
    const own = entry.kind === "file" ? `${entry.sizeBytes} ${entry.identity}` : entry.kind === "symlink" ? entry.target : "";
    hash.update(`${entry.kind} ${entry.mode} ${entry.path}\0${own}\0`);
  }
  return hash.digest("base64url");
}

function newestChangeMs({ part }: PackPlan): number {
  const entries = part.kind === "part" ? [part.entry] : part.entries;
  return entries.reduce((newest, entry) => (entry.kind === "file" ? Math.max(newest, entry.changedAtMs) : newest), 0);
}

function sameKeys(left: object, right: object): boolean {
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => Object.hasOwn(right, key));
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
