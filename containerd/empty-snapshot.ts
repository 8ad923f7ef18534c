import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import type { Mount } from "../proto/gen/types/mount_pb.ts";

/**
 * Deletes what was written to an active snapshot, which its owner is about to remove. On a disk that is quite full containerd cannot remove
 * it, as its database needs a page or two for that; the disk is free again once this is over. Does nothing where its folder cannot be seen.
 */
export async function emptySnapshot(mounts: readonly Mount[]): Promise<void> {
  for (const folder of mounts.map(writableFolder)) {
    if (folder === undefined) continue;
    const names = await readdir(folder).catch(() => []);
    for (const name of names) await rm(path.join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** A layer over others is written to its upper directory, a lone one to what is bind-mounted. */
function writableFolder({ type, source, options }: Mount): string | undefined {
  if (type === "bind") return options.includes("ro") ? undefined : source;
  return options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length);
}
