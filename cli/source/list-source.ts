import type { Stats } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import path from "node:path";
import { SourceError } from "./errors.ts";
import type { IgnorePatterns } from "./ignore-patterns.ts";

/** One entry of a packed source; `path` is relative, with "/". */
export type SourceEntry =
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "file"; readonly path: string; readonly sizeBytes: number; readonly executable: boolean }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

export type ListOptions = {
  readonly directory: string;
  readonly ignore: IgnorePatterns;
  /** packed whatever the patterns say: the Dockerfile, as Docker does */
  readonly always: ReadonlySet<string>;
};

/**
 * Everything of a source directory that is packed, in byte order of the paths.
 * @throws SourceError naming every path that cannot be packed: sockets, devices, symlinks that lead out.
 */
export async function listSource(options: ListOptions, signal: AbortSignal): Promise<SourceEntry[]> {
  const entries: SourceEntry[] = [];
  const faults: string[] = [];
  await walk("");
  if (faults.length > 0)
    throw new SourceError(
      `Cannot pack "${options.directory}":\n${faults.map((fault) => `  ${fault}`).join("\n")}\nName them in .dockerignore`,
    );
  return entries.sort((left, right) => Buffer.compare(Buffer.from(left.path), Buffer.from(right.path)));

  /** Answers whether anything below was packed: an ignored directory exists only for what is kept of it. */
  async function walk(parent: string): Promise<boolean> {
    signal.throwIfAborted();
    let packed = false;
    for (const child of (await readdir(path.join(options.directory, parent))).sort()) {
      const relative = parent === "" ? child : `${parent}/${child}`;
      const ignored = !options.always.has(relative) && options.ignore.ignores(relative);
      const stats = await lstat(path.join(options.directory, relative));
      if (stats.isDirectory()) {
        const mayHoldKept = options.ignore.hasExceptions || [...options.always].some((kept) => kept.startsWith(`${relative}/`));
        if (ignored && !mayHoldKept) continue;
        const kept = await walk(relative);
        if (ignored && !kept) continue;
        entries.push({ kind: "directory", path: relative });
      } else {
        if (ignored) continue;
        const entry = await toEntry(relative, stats);
        if (typeof entry === "string") faults.push(entry);
        else entries.push(entry);
      }
      packed = true;
    }
    return packed;
  }

  async function toEntry(relative: string, stats: Stats): Promise<SourceEntry | string> {
    if (stats.isFile()) return { kind: "file", path: relative, sizeBytes: stats.size, executable: (stats.mode & 0o111) !== 0 };
    if (!stats.isSymbolicLink()) return `"${relative}" is neither file, directory nor symlink`;
    const target = await readlink(path.join(options.directory, relative));
    if (path.posix.isAbsolute(target)) return `"${relative}" is a symlink to the absolute path "${target}"`;
    const reached = path.posix.normalize(path.posix.join(path.posix.dirname(relative), target));
    if (reached === ".." || reached.startsWith("../")) return `"${relative}" is a symlink that leads out of the source, to "${target}"`;
    return { kind: "symlink", path: relative, target };
  }
}
