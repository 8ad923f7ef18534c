import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";

const keyBytes = 32;

/**
 * The key that signs the tokens of builds; made at the first start and kept, so that a restart of the mirror ends no build. Removing the
 * file and starting the mirror anew ends all tokens.
 * @throws Error when the file is another's to read, or holds no key.
 */
export async function openTokenKey(file: string): Promise<Uint8Array> {
  const found = await readKey(file);
  if (found !== undefined) return found;
  const made = randomBytes(keyBytes);
  await writeFileAtomic(file, made.toString("base64url"), 0o600);
  return made;
}

async function readKey(file: string): Promise<Uint8Array | undefined> {
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) {
      throw new Error(`Cannot use the key "${file}": others may read it (mode ${(mode & 0o777).toString(8)}, expected 600); remove it`);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const key = Buffer.from(await readFile(file, "utf8"), "base64url");
  if (key.length === keyBytes) return key;
  throw new Error(`Cannot use the key "${file}": it has ${key.length} bytes, expected ${keyBytes}; remove it, and a new one is made`);
}
