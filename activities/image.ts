import type { DistributionClient } from "../oci/distribution-client.ts";
import { UpstreamError } from "../oci/distribution-client.ts";
import type { HostImages } from "../mirror/host-images.ts";
import { ImageVerificationError } from "../mirror/host-images.ts";
import type { PushUpstream } from "../mirror/replicate.ts";
import { activityFailure } from "./failures.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { ImageActivities } from "./types.ts";

export type ImageDeps = { readonly images: HostImages; readonly upstream: DistributionClient; readonly pushUpstream: PushUpstream };

export function createImageActivities({ images, upstream, pushUpstream }: ImageDeps): ImageActivities {
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
    pinImage: ({ org, repository, digest }) => withHeartbeat((signal) => images.pin(org, repository, digest, signal)),
    unpinImage: ({ org, repository, digest }) => withHeartbeat((signal) => images.unpin(org, repository, digest, signal)),
    pushUpstream: ({ org, repository, digest, tag }) =>
      withHeartbeat(async (signal, report) => {
        const progress = (sentBytes: number) => report({ sentBytes });
        return await pushUpstream({ org, repository, digest, tag }, { client: upstream, signal, onProgress: progress });
      }),
  };
}
