import { type Containerd, type ContainerdNamespace, orUndefined } from "../containerd/client.ts";
import { addToLease, deleteLease, openLease, type OpenLease } from "../containerd/leases.ts";
import { MachineError } from "./errors.ts";
import type { MachinePlan } from "./types.ts";

const prefix = "machine/";
const expiryMs = 2 * 60_000;

/**
 * Until the container record is there nothing but this lease holds the machine's snapshot, and it holds the image whatever becomes of its
 * record meanwhile. One for each machine. @throws MachineError IMAGE_MISSING when the image went before the lease had it.
 */
export async function openStartLease(
  containerd: Containerd,
  namespace: string,
  { id, image }: Pick<MachinePlan, "id" | "image">,
  signal: AbortSignal,
): Promise<OpenLease> {
  // one of a start that was killed is about to expire
  await removeStartLease(containerd.namespace(namespace), id, signal);
  const lease = await openLease(containerd, namespace, { id: prefix + id, expiresAtMs: Date.now() + expiryMs }, signal);
  try {
    await holdImage(lease, image, signal);
    return lease;
  } catch (error) {
    await lease[Symbol.asyncDispose]();
    throw error;
  }
}

/** A lease takes what is not there without a word: present is not safe, present under a lease is. */
async function holdImage({ id, namespace }: OpenLease, { digest, name }: MachinePlan["image"], signal: AbortSignal): Promise<void> {
  await addToLease(namespace, id, { type: "content", id: digest }, signal);
  if ((await orUndefined(namespace.content.info({ digest }, { signal }))) !== undefined) return;
  throw new MachineError(
    "IMAGE_MISSING",
    `Cannot find image "${name}" (${digest}) in containerd namespace "${namespace.namespace}": push it again`,
  );
}

/** Of a start that was killed. */
export async function removeStartLease(ctr: ContainerdNamespace, machineId: string, signal: AbortSignal): Promise<void> {
  await deleteLease(ctr, prefix + machineId, signal);
}

/** The machine a lease was taken for, if it is one of these. */
export function machineOfLease(leaseId: string): string | undefined {
  return leaseId.startsWith(prefix) ? leaseId.slice(prefix.length) : undefined;
}
