import { orgNamespace } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { openContainerd } from "../../containerd/client.ts";
import { createRouterClient } from "../../machines/router/admin-client.ts";

export type Leftovers = {
  readonly machines: readonly string[];
  readonly leases: readonly string[];
  readonly ingests: readonly string[];
  /** of unpacks that did not come to their end */
  readonly snapshots: readonly string[];
};

/** What no live release, no sleeping builder and no replication on its way accounts for. */
export async function leftoversOf(settings: Settings, org: string): Promise<Leftovers> {
  const signal = AbortSignal.timeout(10_000);
  await using containerd = openContainerd(settings.containerd.socket);
  const ns = containerd.namespace(orgNamespace(org));
  const routes = await createRouterClient(settings.router.adminSocket).listRoutes(signal);
  const serving = routes.filter((route) => route.org === org).flatMap((route) => route.targets);

  const { containers } = await ns.containers.list({}, { signal });
  const machines = containers.filter(({ id, labels }) => id !== "builder" && labels["slipway.app"] !== undefined);
  const { leases } = await ns.leases.list({}, { signal });
  const { statuses } = await ns.content.listStatuses({}, { signal });
  const snapshots: string[] = [];
  for await (const { info } of ns.snapshots.list({ snapshotter: settings.containerd.snapshotter }, { signal })) {
    snapshots.push(...info.map(({ name }) => name).filter((name) => name.startsWith("extract-")));
  }
  return {
    machines: machines.length > serving.length ? machines.map(({ id }) => id) : [],
    leases: leases.map(({ id }) => id).filter((id) => !id.startsWith("replicate/")),
    ingests: statuses.map(({ ref }) => ref),
    snapshots,
  };
}
