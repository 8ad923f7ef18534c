import { runCommand } from "../run-command.ts";

/** Packs a folder with GNU tar: sorted, owned by root, times at the epoch. */
export async function packFolder(folder: string, file: string, signal: AbortSignal): Promise<void> {
  const fixed = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"];
  await runCommand(["nice", "tar", ...fixed, "-C", folder, "-cf", file, "."], { signal });
}
