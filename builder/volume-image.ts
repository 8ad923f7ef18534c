import { existsSync } from "node:fs";
import { chmod, open, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { runProgram } from "../machines/run-program.ts";

/**
 * Mounts a file system of `sizeBytes` on `dir`, of which no builder gets more; made in the sparse file `image` when that is not there. What is deleted
 * in it is given back to the disk beneath.
 * @throws ProgramError of mkfs.ext4 or mount
 */
export async function mountImage(image: string, dir: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  if (await isMounted(dir)) return;
  if (!existsSync(image)) await makeImage(image, sizeBytes, signal);
  await runProgram("mount", ["-t", "ext4", "-o", "loop,discard", image, dir], { signal });
  await chmod(dir, 0o700);
}

export async function removeImage(image: string, dir: string, signal: AbortSignal): Promise<void> {
  if (await isMounted(dir)) await runProgram("umount", [dir], { signal });
  await rm(image, { force: true });
}

async function makeImage(image: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const unfinished = `${image}.new`;
  const file = await open(unfinished, "w", 0o600);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
  // nothing held back for root: what fills it is root
  await runProgram("mkfs.ext4", ["-q", "-F", "-m", "0", unfinished], { signal });
  await rename(unfinished, image);
}

async function isMounted(dir: string): Promise<boolean> {
  const [own, above] = await Promise.all([stat(dir).catch(() => undefined), stat(path.dirname(dir))]);
  return own !== undefined && own.dev !== above.dev;
}
