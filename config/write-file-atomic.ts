import { mkdir, open, rename, rm } from "node:fs/promises";
import path from "node:path";

let writes = 0;

/** Whole and on disk when it returns, folder entry included; a reader sees the old content or the new one. */
export async function writeFileAtomic(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const dir = path.dirname(file);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const next = `${file}.${process.pid}.${writes++}`;
  try {
    await using handle = await open(next, "w", mode);
    await handle.writeFile(content);
    await handle.sync();
    await rename(next, file);
  } catch (error) {
    await rm(next, { force: true });
    throw error;
  }
  await using folder = await open(dir, "r");
  await folder.sync();
}
