import type { Containerd } from "./client.ts";

/** The folders that containerd keeps content and snapshots in, as it says itself. None when it does not say. */
export async function containerdRoots(containerd: Containerd, snapshotter: string, signal: AbortSignal): Promise<readonly string[]> {
  const filters = ["type==io.containerd.content.v1", `type==io.containerd.snapshotter.v1,id==${snapshotter}`];
  const { plugins } = await containerd.introspection.plugins({ filters }, { signal });
  return [...new Set(plugins.flatMap(({ exports }) => exports.root ?? []))];
}
