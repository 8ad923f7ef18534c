import { randomUUID } from "node:crypto";
import type { ContainerdNamespace } from "./client.ts";
import { createLease, deleteLease } from "./leases.ts";

/** Has containerd collect garbage, of all its namespaces, and waits for that: the deletion of a lease with `sync` does. */
export async function collectGarbage(ns: ContainerdNamespace, signal: AbortSignal): Promise<void> {
  const id = `collect/${randomUUID()}`;
  await createLease(ns, { id, expiresAtMs: Date.now() + 60_000 }, signal);
  await deleteLease(ns, id, signal, true);
}
