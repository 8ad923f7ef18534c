import { readdir } from "node:fs/promises";
import path from "node:path";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import type { ContainerdNamespace } from "../containerd/client.ts";
import { listLeases } from "../containerd/leases.ts";
import { readReservations } from "./network/reservations.ts";
import { machineOfLease } from "./start-lease.ts";
import type { OrgNetwork } from "./types.ts";

/**
 * Machines of an org that a start left half-made: a folder (every start makes it first) or a reserved address without a container,
 * or a start's lease.
 */
export async function leftoversOf(
  ctr: ContainerdNamespace,
  settings: Settings,
  network: OrgNetwork,
  signal: AbortSignal,
): Promise<{ readonly withoutContainer: readonly string[]; readonly leased: readonly string[] }> {
  const folders = await readdir(path.dirname(instancePaths.machineDir(settings, network.org, "any"))).catch(() => []);
  const reservations = await readReservations(settings, network);
  const known = new Set([...folders, ...[...reservations.values()].flatMap((ids) => [...ids])]);
  const { containers } = await ctr.containers.list({}, { signal });
  for (const { id } of containers) known.delete(id);
  const leases = await listLeases(ctr, signal);
  return { withoutContainer: [...known], leased: leases.flatMap(({ id }) => machineOfLease(id) ?? []) };
}
