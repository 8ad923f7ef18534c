import { mkdir, open, rename, rm } from "node:fs/promises";
import path from "node:path";

let writes = 0;

/** Whole and on disk when it returns, folder entry included; a reader sees the old content or the new one. */
export async function writeFileAtomic(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  await replaceFile(file, content, { mode, onDisk: true });
  await using folder = await open(path.dirname(file), "r");
  await folder.sync();
}

export type ReplaceOptions = {
  readonly mode?: number;
  /** without it a power cut may leave anything: for what can be made again */
  readonly onDisk?: boolean;
};

/** A reader sees the old content or the new one. Makes the folders above. */
export async function replaceFile(
  file: string,
  content: string | Uint8Array,
  { mode = 0o600, onDisk = false }: ReplaceOptions = {},
): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.${process.pid}.${writes++}`;
  try {
    await using handle = await open(next, "w", mode);
    await handle.writeFile(content);
    if (onDisk) await handle.sync();
    await rename(next, file);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
}
