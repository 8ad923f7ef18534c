import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Mount } from "../proto/gen/types/mount_pb.ts";

const run = promisify(execFile);

/**
 * Deletes what was written to an active snapshot, which its owner is about to remove. On a disk that is quite full containerd cannot remove
 * it, as its database needs a page or two for that; the disk is free again once this is over. Does nothing where its folder cannot be seen.
 *
 * containerd may still be applying the layer, whose call was cancelled: a folder can become a link to the host's own files at any moment.
 * `find` goes down by open folders and follows no link; Node's `rm` goes by path, and deleted what the link led to.
 */
export async function emptySnapshot(mounts: readonly Mount[]): Promise<void> {
  for (const folder of mounts.map(writableFolder)) {
    if (folder === undefined) continue;
    await run("find", [folder, "-xdev", "-mindepth", "1", "-ignore_readdir_race", "-delete"]).catch(() => undefined);
  }
}

/** A layer over others is written to its upper directory, a lone one to what is bind-mounted. */
function writableFolder({ type, source, options }: Mount): string | undefined {
  if (type === "bind") return options.includes("ro") ? undefined : source;
  return options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length);
}
