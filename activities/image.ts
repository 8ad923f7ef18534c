import type { Containerd } from "../containerd/client.ts";
import { type HostImages, ImageVerificationError } from "../mirror/images/host-images.ts";
import { pushUpstream } from "../mirror/replicate/replicate.ts";
import type { DistributionClient } from "../oci/distribution-client.ts";
import { parseTag } from "../oci/repository.ts";
import { activityFailure } from "./failures.ts";
import { withHeartbeat } from "./heartbeat.ts";
import type { ImageActivities } from "./types.ts";

export type ImageDeps = { readonly containerd: Containerd; readonly images: HostImages; readonly upstream: DistributionClient };

export function createImageActivities({ containerd, images, upstream }: ImageDeps): ImageActivities {
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
        const image = { org, repository, digest, tag: parseTag(tag) };
        return await pushUpstream(image, { containerd, client: upstream, signal, onProgress: report });
      }),
  };
}
