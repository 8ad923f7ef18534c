import { type Containerd, type ContainerdNamespace, isAlreadyExists, isNotFound } from "./client.ts";

/** What a lease may hold: content by digest, a snapshot by key (`snapshots/<snapshotter>`), an ingest by ref. */
export type LeasedResource =
  | { readonly type: "content"; readonly id: string }
  | { readonly type: "ingests"; readonly id: string }
  | { readonly type: `snapshots/${string}`; readonly id: string };

export type LeaseOptions = {
  readonly id: string;
  /** containerd deletes the lease by itself after this moment; without it the lease stands until it is deleted */
  readonly expiresAtMs?: number;
  readonly labels?: Readonly<Record<string, string>>;
};

/** A lease that ends with its scope, and the namespace seen under it. */
export type OpenLease = AsyncDisposable & { readonly id: string; readonly namespace: ContainerdNamespace };

/** Idempotent: a lease of that id that exists is left as it is, with the expiry it was made with. */
export async function createLease(ns: ContainerdNamespace, options: LeaseOptions, signal: AbortSignal): Promise<void> {
  const { id, expiresAtMs, labels } = options;
  const expiry = expiresAtMs === undefined ? {} : { "containerd.io/gc.expire": new Date(expiresAtMs).toISOString() };
  try {
    await ns.leases.create({ id, labels: { ...labels, ...expiry } }, { signal });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/**
 * containerd accepts a resource that does not exist without a word: look for it again *after* this call.
 * @throws ClientError NOT_FOUND when the lease is gone.
 */
export async function addToLease(ns: ContainerdNamespace, leaseId: string, resource: LeasedResource, signal: AbortSignal): Promise<void> {
  await ns.leases.addResource({ id: leaseId, resource }, { signal });
}

/** A lease that is gone already is a success. `sync` waits for the garbage collection that follows. */
export async function deleteLease(ns: ContainerdNamespace, id: string, signal: AbortSignal, sync = false): Promise<void> {
  try {
    await ns.leases.delete({ id, sync }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Resources a lease holds; undefined when there is no such lease. */
export async function leaseResources(
  ns: ContainerdNamespace,
  id: string,
  signal: AbortSignal,
): Promise<readonly { readonly type: string; readonly id: string }[] | undefined> {
  try {
    return (await ns.leases.listResources({ id }, { signal })).resources;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Leases of the namespace with their labels, without what they hold. */
export async function listLeases(
  ns: ContainerdNamespace,
  signal: AbortSignal,
): Promise<readonly { readonly id: string; readonly labels: Readonly<Record<string, string>> }[]> {
  return (await ns.leases.list({}, { signal })).leases;
}

/** Takes a lease for a scope: `await using lease = await openLease(…)`. It is deleted at the scope's end even when `signal` fired. */
export async function openLease(containerd: Containerd, namespace: string, options: LeaseOptions, signal: AbortSignal): Promise<OpenLease> {
  const namespaceUnderLease = containerd.namespace(namespace, options.id);
  await createLease(namespaceUnderLease, options, signal);
  return {
    id: options.id,
    namespace: namespaceUnderLease,
    [Symbol.asyncDispose]: () => deleteLease(namespaceUnderLease, options.id, AbortSignal.timeout(10_000)),
  };
}
