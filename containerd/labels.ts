/** Labels of content, images, snapshots and leases; key and value together hold at most 4096 bytes. */
export type Labels = Readonly<Record<string, string>>;

/** An update without a mask replaces every label, others' references for the garbage collector included. */
export function labelMask(labels: Labels): { paths: string[] } {
  return { paths: Object.keys(labels).map((key) => `labels.${key}`) };
}

/** Keys by which the garbage collector follows a manifest to its children (containerd, docs/garbage-collection.md). */
export const gcLabels = {
  config: "containerd.io/gc.ref.content.config",
  layer: (index: number) => `containerd.io/gc.ref.content.l.${index}`,
  manifest: (index: number) => `containerd.io/gc.ref.content.m.${index}`,
  snapshot: (snapshotter: string) => `containerd.io/gc.ref.snapshot.${snapshotter}`,
  root: "containerd.io/gc.root",
  uncompressed: "containerd.io/uncompressed",
} as const;
