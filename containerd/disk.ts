import { statfs } from "node:fs/promises";
import type { Containerd } from "./client.ts";
import { containerdRoots } from "./roots.ts";

export type Disk = { readonly freeBytes: number; readonly totalBytes: number };

/**
 * The disk that containerd keeps content and snapshots on, of several the one with the least free; it must be of this host.
 * @throws Error when containerd does not say where.
 */
export async function containerdDisk(containerd: Containerd, snapshotter: string, signal: AbortSignal): Promise<Disk> {
  const disks = await Promise.all((await containerdRoots(containerd, snapshotter, signal)).map(diskOf));
  const [least] = disks.toSorted((a, b) => a.freeBytes - b.freeBytes);
  if (least !== undefined) return least;
  throw new Error(`Cannot find the disk of containerd at "${containerd.socket}": its plugins name no folder, expected an export "root"`);
}

/** The disk that a folder of this host is on. */
export async function diskOf(folder: string): Promise<Disk> {
  const { bavail, bsize, blocks } = await statfs(folder);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
