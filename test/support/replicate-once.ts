/** A process that makes one attempt to bring an image upstream, as the host's worker would: for tests that kill it. */
import { openContainerd } from "../../containerd/client.ts";
import { createPace } from "../../mirror/replicate/pace.ts";
import { pushUpstream } from "../../mirror/replicate/replicate.ts";
import { createUnfinishedUploads } from "../../mirror/replicate/unfinished-uploads.ts";
import { createDistributionClient } from "../../oci/distribution-client.ts";

export type ReplicateOnce = {
  readonly socket: string;
  readonly image: Parameters<typeof pushUpstream>[0];
  readonly upstreamUrl: string;
  readonly uploadsDir: string;
  readonly bytesPerSecond: number;
};

const asked = JSON.parse(process.argv[2] ?? "") as ReplicateOnce;
await using containerd = openContainerd(asked.socket);
using client = createDistributionClient({ baseUrl: asked.upstreamUrl });
const uploads = createUnfinishedUploads(asked.uploadsDir);
const signal = AbortSignal.timeout(60_000);
await pushUpstream(asked.image, { containerd, client, uploads, signal, pace: createPace(asked.bytesPerSecond) });
