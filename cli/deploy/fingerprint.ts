import { digestOf, type Digest } from "../../oci/digest.ts";
import type { ResolvedAppConfig } from "../../workflows/types.ts";

/** What an idempotency key stands for: the same source and the same config. */
export type Fingerprint = { readonly sourceDigest: Digest; readonly configDigest: Digest };

export function fingerprintOf(sourceDigest: Digest, config: ResolvedAppConfig): Fingerprint {
  return { sourceDigest, configDigest: digestOf(canonicalJson(config)) };
}

/** Keys in order, so that the order in which a file names them does not matter. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)))
      : inner,
  );
}
