import type { Containerd, ContainerdNamespace } from "../containerd/client.ts";
import { deleteLease, openLease, type OpenLease } from "../containerd/leases.ts";

const prefix = "machine/";
const expiryMs = 2 * 60_000;

/** Between its preparation and the container record nothing but this lease holds the snapshot. One for each machine. */
export async function openStartLease(
  containerd: Containerd,
  namespace: string,
  machineId: string,
  signal: AbortSignal,
): Promise<OpenLease> {
  return await openLease(containerd, namespace, { id: prefix + machineId, expiresAtMs: Date.now() + expiryMs }, signal);
}

/** Of a start that was killed. */
export async function removeStartLease(ctr: ContainerdNamespace, machineId: string, signal: AbortSignal): Promise<void> {
  await deleteLease(ctr, prefix + machineId, signal);
}

/** The machine a lease was taken for, if it is one of these. */
export function machineOfLease(leaseId: string): string | undefined {
  return leaseId.startsWith(prefix) ? leaseId.slice(prefix.length) : undefined;
}
