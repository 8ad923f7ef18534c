import { readFile } from "node:fs/promises";
import path from "node:path";
import { SourceError } from "./errors.ts";
import { parseIgnorePatterns, type IgnorePatterns } from "./ignore-patterns.ts";

/** `.git` changes with every fetch and would make each digest new; an ignore file takes it back with `!.git`. */
const builtInPatterns = ".git\n";

/**
 * The ignore file of a build: the one that was named, else `<Dockerfile>.dockerignore`, else `.dockerignore`, as BuildKit looks for it.
 * @throws SourceError when the named file is missing or a pattern is malformed.
 */
export async function loadIgnorePatterns(
  directory: string,
  dockerfile: string,
  named: string | undefined,
): Promise<IgnorePatterns & { readonly file?: string }> {
  const candidates = named === undefined ? [`${dockerfile}.dockerignore`, ".dockerignore"] : [named];
  for (const file of candidates) {
    const text = await readFile(path.resolve(directory, file), "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" && named === undefined) return undefined;
      throw new SourceError(`Cannot read ignore file "${file}": ${error.message}`, { cause: error });
    });
    if (text === undefined) continue;
    try {
      return { ...parseIgnorePatterns(builtInPatterns + text.replace(/^\uFEFF/, "")), file };
    } catch (error) {
      throw new SourceError(`Cannot use ignore file "${file}": ${(error as Error).message}`, { cause: error });
    }
  }
  return parseIgnorePatterns(builtInPatterns);
}
