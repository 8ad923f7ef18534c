import type { IncomingMessage } from "node:http";
import type { DistributionTarget } from "../../oci/routes/distribution-call.ts";
import { announcesBody } from "../../oci/routes/request-body.ts";
import type { DistributionStore } from "../../oci/store.ts";
import type { OrgLimits } from "./org-limits.ts";

const admitTimeoutMs = 30_000;
const abortTimeoutMs = 10_000;
/** So far beneath the floor, or above the quota, manifests still come: an image whose layers were let in gets its end. */
const manifestSlackBytes = 256 * 1024 * 1024;

/**
 * Lets the body of an upload or a manifest come, or refuses it before a byte is read. An upload that is refused is over, with what it had taken: a
 * client that is told to come back begins another. @throws DistributionError
 */
export async function admitBody(
  limits: Pick<OrgLimits, "admit">,
  { endpoint }: DistributionTarget,
  request: IncomingMessage,
  store: DistributionStore,
): Promise<void> {
  if (endpoint.kind === "writeManifest") return limits.admit(-manifestSlackBytes, AbortSignal.timeout(admitTimeoutMs));
  const isUpload = endpoint.kind === "startUpload" || endpoint.kind === "appendUpload" || endpoint.kind === "finishUpload";
  if (!isUpload || !announcesBody(request)) return;
  try {
    await limits.admit(Number(request.headers["content-length"] ?? 0), AbortSignal.timeout(admitTimeoutMs));
  } catch (error) {
    // an id of no upload has nothing to end
    if (endpoint.kind !== "startUpload") {
      await store.uploads.abort(endpoint.repository, endpoint.id, AbortSignal.timeout(abortTimeoutMs)).catch(() => undefined);
    }
    throw error;
  }
}
