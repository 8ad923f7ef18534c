import { createHash } from "node:crypto";
import { type Digest, digestAlgorithm } from "../oci/digest.ts";
import type { ContainerdNamespace } from "./client.ts";
import { ContentMismatchError } from "./content-errors.ts";
import { addToLease } from "./leases.ts";

/**
 * Whether bytes whose digest is `counted` are those that are stored as `digest`. Digests of two algorithms cannot be compared: then what is
 * stored is read and hashed by the algorithm of `counted`. @throws ContentMismatchError when they are not the same.
 */
export async function requireSameContent(ns: ContainerdNamespace, digest: Digest, counted: Digest, signal: AbortSignal): Promise<void> {
  if (counted === digest) return;
  if (digestAlgorithm(counted) === digestAlgorithm(digest)) throw new ContentMismatchError(digest, counted);
  // the collector must not take it away while it is read
  if (ns.lease !== undefined) await addToLease(ns, ns.lease, { type: "content", id: digest }, signal);
  const hash = createHash(digestAlgorithm(counted));
  for await (const { data } of ns.content.read({ digest }, { signal })) hash.update(data);
  const stored = `${digestAlgorithm(counted)}:${hash.digest("hex")}`;
  if (stored !== counted) throw new ContentMismatchError(digest, `other bytes, of digest ${counted}`);
}
