import type { Digest } from "../oci/digest.ts";
import { type ContainerdNamespace, isNotFound } from "./client.ts";
import { type Labels, labelMask } from "./labels.ts";
import { addToLease } from "./leases.ts";

/** Adds labels to content, and takes none away. @throws ClientError NOT_FOUND when the content is gone. */
export async function setLabels(ns: ContainerdNamespace, digest: Digest, labels: Labels, signal: AbortSignal): Promise<void> {
  if (Object.keys(labels).length === 0) return;
  await ns.content.update({ info: { digest, labels: { ...labels } }, updateMask: labelMask(labels) }, { signal });
}

/** Removes labels by key; content that is gone has none. */
export async function removeLabels(ns: ContainerdNamespace, digest: Digest, keys: readonly string[], signal: AbortSignal): Promise<void> {
  const updateMask = { paths: keys.map((key) => `labels.${key}`) };
  try {
    await ns.content.update({ info: { digest }, updateMask }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/**
 * Content that someone else stored is put under this view's lease. The lease takes it first and the labels are set after, as that
 * fails with NOT_FOUND when the collector was quicker: present is not safe, present under a lease is.
 */
export async function keepExisting(ns: ContainerdNamespace, digest: Digest, labels: Labels, signal: AbortSignal): Promise<void> {
  if (ns.lease !== undefined) await addToLease(ns, ns.lease, { type: "content", id: digest }, signal);
  await ns.content.info({ digest }, { signal });
  await setLabels(ns, digest, labels, signal);
}
