import { type ContainerdNamespace, orUndefined } from "../../containerd/client.ts";
import { listBlobs } from "../../containerd/content.ts";
import type { Labels } from "../../containerd/labels.ts";
import { leaseResources, listLeases } from "../../containerd/leases.ts";
import { Kind } from "../../proto/gen/services/snapshots/v1/snapshots_pb.ts";

/** What containerd's collector would follow in one org's namespace, with sizes. Nodes are `content <digest>` and `snapshot <key>`. */
export type OrgGraph = {
  readonly edges: ReadonlyMap<string, readonly string[]>;
  readonly sizes: ReadonlyMap<string, number>;
  /** held by containers, leases, labels and snapshots that are written to; image records not among them */
  readonly roots: readonly string[];
};

export type Target = { readonly org: string; readonly digest: string };

export const contentNode = (digest: string): string => `content ${digest}`;
const snapshotNode = (key: string): string => `snapshot ${key}`;

/** Reads the graph by its labels, as the collector does: no document is opened. */
export async function readOrgGraph(ns: ContainerdNamespace, snapshotter: string, signal: AbortSignal): Promise<OrgGraph> {
  const edges = new Map<string, readonly string[]>();
  const sizes = new Map<string, number>();
  const roots: string[] = [];
  for await (const { digest, sizeBytes, labels } of listBlobs(ns, [], signal)) {
    edges.set(contentNode(digest), referencesOf(labels, snapshotter));
    sizes.set(contentNode(digest), sizeBytes);
    if (labels["containerd.io/gc.root"] !== undefined) roots.push(contentNode(digest));
  }
  for await (const { info } of ns.snapshots.list({ snapshotter }, { signal })) {
    for (const { name, parent, kind } of info) {
      edges.set(snapshotNode(name), parent === "" ? [] : [snapshotNode(parent)]);
      if (kind !== Kind.COMMITTED) roots.push(snapshotNode(name));
      // of a committed one the size is stored: nothing is walked
      const usage = kind === Kind.COMMITTED ? await orUndefined(ns.snapshots.usage({ snapshotter, key: name }, { signal })) : undefined;
      sizes.set(snapshotNode(name), Number(usage?.size ?? 0));
    }
  }
  for (const { labels } of (await ns.containers.list({}, { signal })).containers) roots.push(...referencesOf(labels, snapshotter));
  for (const { id } of await listLeases(ns, signal)) {
    for (const resource of (await leaseResources(ns, id, signal)) ?? []) {
      roots.push(resource.type === "content" ? contentNode(resource.id) : snapshotNode(resource.id));
    }
  }
  return { edges, sizes, roots };
}

function referencesOf(labels: Labels, snapshotter: string): string[] {
  return Object.entries(labels).flatMap(([key, value]) => {
    if (key.startsWith("containerd.io/gc.ref.content")) return [contentNode(value)];
    return key.startsWith(`containerd.io/gc.ref.snapshot.${snapshotter}`) ? [snapshotNode(value)] : [];
  });
}

/**
 * What becomes free with each of the targets, in their order, when only `kept` stays: what several of them share is counted at the
 * first. Content that several orgs have is stored once, and free when none has it any more; snapshots are each org's own.
 */
export function freedBytes(graphs: ReadonlyMap<string, OrgGraph>, removed: readonly Target[], kept: readonly Target[]): number[] {
  const reached = new Map([...graphs.keys()].map((org) => [org, new Set<string>()]));
  const free = new Set<string>();
  /** Marks what can be reached from here, and answers what was not reached before. */
  const reach = (org: string, start: string): string[] => {
    const [graph, seen] = [graphs.get(org)!, reached.get(org)!];
    const fresh: string[] = [];
    const waiting = [start];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      fresh.push(node);
      waiting.push(...(graph.edges.get(node) ?? []));
    }
    return fresh;
  };
  for (const [org, { roots }] of graphs) for (const root of roots) reach(org, root);
  for (const { org, digest } of kept) reach(org, contentNode(digest));
  const keptContent = new Set([...reached.values()].flatMap((nodes) => [...nodes].filter((node) => node.startsWith("content "))));

  return removed.map(({ org, digest }) => {
    let bytes = 0;
    for (const node of reach(org, contentNode(digest))) {
      const isContent = node.startsWith("content ");
      if (isContent && (keptContent.has(node) || free.has(node))) continue;
      if (isContent) free.add(node);
      bytes += graphs.get(org)!.sizes.get(node) ?? 0;
    }
    return bytes;
  });
}
