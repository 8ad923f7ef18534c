/** Layers unpacked side by side need the snapshotter's `rebase` (2.2); machines in user namespaces need ID-mapped snapshots (2.0). */
export const leastContainerdVersion = "2.2.0";
