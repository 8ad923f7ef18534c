import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from "node:fs";
import path from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { leadsOut } from "../../config/leads-out.ts";
import { SourceError } from "./errors.ts";
import type { IgnorePatterns } from "./ignore-patterns.ts";

type Listed = {
  /** relative, with "/" */
  readonly path: string;
  /** permission bits with setuid, setgid and sticky, as Docker keeps them */
  readonly mode: number;
};

/** One entry of a packed source. */
export type SourceEntry =
  | (Listed & { readonly kind: "directory" })
  | (Listed & {
      readonly kind: "file";
      readonly sizeBytes: number;
      /** inode, content time and change time: the same identity is the same content, unless it changed a moment ago */
      readonly identity: string;
      /** the later of content time and change time */
      readonly changedAtMs: number;
    })
  | (Listed & { readonly kind: "symlink"; readonly target: string });

export type ListOptions = {
  readonly directory: string;
  readonly ignore: IgnorePatterns;
  /** packed whatever the patterns say: the Dockerfile, as Docker does */
  readonly always: ReadonlySet<string>;
};

/** Others get their turn so often: the calls below are synchronous, which for small ones is several times as fast. */
const turnMs = 20;

/**
 * Everything of a source directory that is packed, in byte order of the paths. Files with several hard links are listed under each name.
 * @throws SourceError naming every path that cannot be packed: sockets, devices, symlinks that lead out, names that are no UTF-8, folders
 * that may not be read.
 */
export async function listSource(options: ListOptions, signal: AbortSignal): Promise<SourceEntry[]> {
  const { directory, ignore } = options;
  const always = [...options.always];
  const entries: SourceEntry[] = [];
  const faults: string[] = [];
  let turnEndsMs = performance.now() + turnMs;
  await walk("");
  if (faults.length > 0)
    throw new SourceError(`Cannot pack "${directory}":\n${faults.map((fault) => `  ${fault}`).join("\n")}\nName them in .dockerignore`);
  return inByteOrder(entries);

  /** Answers whether anything below was packed: an ignored directory exists only for what is kept of it. */
  async function walk(parent: string): Promise<boolean> {
    if (performance.now() > turnEndsMs) {
      await breathe();
      turnEndsMs = performance.now() + turnMs;
    }
    signal.throwIfAborted();
    let packed = false;
    for (const child of readFolder(parent)) {
      const relative = parent === "" ? child : `${parent}/${child}`;
      const ignored = !options.always.has(relative) && ignore.ignores(relative);
      const stats = statOf(relative);
      if (stats === undefined) continue;
      if (stats.isDirectory()) {
        const mayHoldKept = ignore.hasExceptions || always.some((kept) => kept.startsWith(`${relative}/`));
        if (ignored && !mayHoldKept) continue;
        const kept = await walk(relative);
        if (ignored && !kept) continue;
        entries.push({ kind: "directory", path: relative, mode: modeOf(stats) });
      } else {
        if (ignored) continue;
        const entry = toEntry(relative, stats);
        if (typeof entry === "string") faults.push(entry);
        else entries.push(entry);
      }
      packed = true;
    }
    return packed;
  }

  function readFolder(relative: string): string[] {
    const folder = path.join(directory, relative);
    try {
      const names = readdirSync(folder);
      if (!names.some((name) => name.includes("\ufffd"))) return names;
      return utf8Only(relative, readdirSync(folder, { encoding: "buffer" }));
    } catch (error) {
      faults.push(unreadable(relative === "" ? "." : relative, error as NodeJS.ErrnoException));
      return [];
    }
  }

  /** A path is text everywhere it goes: in the Dockerfile, in the log, in the build's cache. */
  function utf8Only(relative: string, names: readonly Buffer[]): string[] {
    return names.flatMap((bytes) => {
      const name = bytes.toString("utf8");
      if (Buffer.from(name).equals(bytes)) return [name];
      const shown = bytes.toString("latin1").replace(/[^\x20-\x7e]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
      faults.push(`"${relative === "" ? "" : `${relative}/`}${shown}" has a name that is not UTF-8; rename it`);
      return [];
    });
  }

  function statOf(relative: string): BigIntStats | undefined {
    try {
      return lstatSync(path.join(directory, relative), { bigint: true });
    } catch (error) {
      faults.push(unreadable(relative, error as NodeJS.ErrnoException));
      return undefined;
    }
  }

  function toEntry(relative: string, stats: BigIntStats): SourceEntry | string {
    if (stats.isFile())
      return {
        kind: "file",
        path: relative,
        mode: modeOf(stats),
        sizeBytes: Number(stats.size),
        identity: `${stats.ino} ${stats.mtimeNs} ${stats.ctimeNs}`,
        changedAtMs: Math.max(Number(stats.mtimeMs), Number(stats.ctimeMs)),
      };
    if (!stats.isSymbolicLink()) return `"${relative}" is neither file, directory nor symlink`;
    const target = readlinkSync(path.join(directory, relative));
    if (path.posix.isAbsolute(target)) return `"${relative}" is a symlink to the absolute path "${target}"`;
    if (leadsOut(relative, target)) return `"${relative}" is a symlink that leads out of the source, to "${target}"`;
    if (target.includes("\ufffd")) return `"${relative}" is a symlink to a name that is not UTF-8`;
    return { kind: "symlink", path: relative, mode: 0o777, target };
  }
}

const modeOf = ({ mode }: BigIntStats): number => Number(mode) & 0o7777;

function unreadable(shown: string, { code, message }: NodeJS.ErrnoException): string {
  if (code === "EACCES" || code === "EPERM") return `"${shown}" may not be read by this user (${code})`;
  if (code === "ENOENT") return `"${shown}" was removed while the source was listed; deploy again`;
  return `"${shown}" cannot be read: ${message}`;
}

/** UTF-16 sorts as UTF-8 does, but for what lies beyond 65,535. */
function inByteOrder(entries: SourceEntry[]): SourceEntry[] {
  const byCodeUnits = (left: SourceEntry, right: SourceEntry) => (left.path < right.path ? -1 : 1);
  if (!entries.some(({ path: name }) => /[\ud800-\udfff]/.test(name))) return entries.sort(byCodeUnits);
  const bytes = new Map(entries.map((entry) => [entry, Buffer.from(entry.path)]));
  return entries.sort((left, right) => Buffer.compare(bytes.get(left)!, bytes.get(right)!));
}
