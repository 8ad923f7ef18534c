import { statfs } from "node:fs/promises";
import type { Containerd } from "./client.ts";

/**
 * The disk that containerd keeps its content on; it must be of this host. @throws Error when containerd does not say where.
 */
export async function containerdDisk(
  containerd: Containerd,
  signal: AbortSignal,
): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
  const { plugins } = await containerd.introspection.plugins({ filters: ["type==io.containerd.content.v1"] }, { signal });
  const root = plugins.flatMap(({ exports }) => exports.root ?? [])[0];
  if (root === undefined) {
    throw new Error(
      `Cannot find the disk of containerd at "${containerd.socket}": its content store names no root, expected an export "root"`,
    );
  }
  const { bavail, bsize, blocks } = await statfs(root);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
