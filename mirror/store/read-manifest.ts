import { type ContainerdNamespace, orUndefined } from "../../containerd/client.ts";
import { readBlobBytes } from "../../containerd/content.ts";
import type { Digest } from "../../oci/digest.ts";
import { manifestLimitBytes } from "../../oci/manifest.ts";

/** Undefined when the collector was quicker. */
export async function readManifestBytes(ns: ContainerdNamespace, digest: Digest, signal: AbortSignal): Promise<Buffer | undefined> {
  return orUndefined(readBlobBytes(ns, digest, { limitBytes: manifestLimitBytes }, signal));
}
