import type { Containerd } from "../containerd/client.ts";
import { type HostImages, ImageVerificationError } from "../mirror/images/host-images.ts";
import type { Pace } from "../mirror/replicate/pace.ts";
import { type ReplicateProgress, pushUpstream } from "../mirror/replicate/replicate.ts";
import type { UnfinishedUploads } from "../mirror/replicate/unfinished-uploads.ts";
import { type DistributionClient, UpstreamError } from "../oci/distribution-client.ts";
import { parseTag } from "../oci/repository.ts";
import { type MirrorAdmin, MirrorAdminError } from "../mirror/admin-client.ts";
import type { EnsureOrg } from "./ensure-org.ts";
import { activityFailure } from "./failures.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { ImageActivities } from "./types.ts";

export type ImageDeps = {
  readonly containerd: Containerd;
  readonly images: HostImages;
  readonly upstream: DistributionClient;
  readonly mirror: Pick<MirrorAdmin, "fetchImage">;
  readonly ensureOrg: EnsureOrg;
  readonly uploads: UnfinishedUploads;
  readonly pace?: Pace;
};

export function createImageActivities({ images, upstream, mirror, ensureOrg, ...replication }: ImageDeps): ImageActivities {
  return {
    verifyImage: (input) =>
      withHeartbeat(async (signal) => {
        try {
          return await images.verify(input, signal);
        } catch (error) {
          if (error instanceof ImageVerificationError) {
            throw activityFailure("ImageVerificationFailed", `${error.code}: ${error.message}`, [], error);
          }
          throw error;
        }
      }),
    pullImage: ({ org, repository, digest, tag }) =>
      withHeartbeat(async (signal) => {
        await ensureOrg(org, signal);
        const wanted = { repository, digest, ...(tag === undefined ? {} : { tag: parseTag(tag) }) };
        try {
          return await mirror.fetchImage(org, wanted, signal);
        } catch (error) {
          if (signal.aborted || !(error instanceof MirrorAdminError)) throw error;
          throw pullFailure(error);
        }
      }),
    pinImage: ({ org, repository, digest }) => withHeartbeat((signal) => images.pin(org, repository, digest, signal)),
    unpinImage: ({ org, repository, digest }) => withHeartbeat((signal) => images.unpin(org, repository, digest, signal)),
    pushUpstream: ({ org, repository, digest, tag }) =>
      withHeartbeat(async (signal, report) => {
        const image = { org, repository, digest, tag: parseTag(tag) };
        let progress: ReplicateProgress = { sentBytes: 0, skippedBytes: 0, totalBytes: 0 };
        const onProgress = (next: ReplicateProgress) => report((progress = next));
        try {
          return await pushUpstream(image, { ...replication, client: upstream, signal, onProgress });
        } catch (error) {
          if (signal.aborted) throw error;
          throw replicationFailure(error, progress);
        }
      }),
  };
}

/** By the status of the mirror's answer: 4xx are its last word. */
function pullFailure(error: MirrorAdminError): Error {
  const { status = 503 } = error;
  if (status === 422) return activityFailure("ImageVerificationFailed", error.message, [], error);
  return activityFailure(status < 500 ? "ImageUnavailable" : "ImagePullFailed", error.message, [], error);
}

function replicationFailure(error: unknown, progress: ReplicateProgress): Error {
  const retryAfterMs = error instanceof UpstreamError ? error.retryAfterMs : undefined;
  const replication = { ...progress, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  return activityFailure("ReplicationFailed", error instanceof Error ? error.message : String(error), [], error, { replication });
}
