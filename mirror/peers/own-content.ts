import { DistributionError } from "../../oci/errors.ts";
import type { BlobContent } from "../../oci/store.ts";
import type { ReadableStore } from "../pull/readable-store.ts";

/** At most so many blobs on their way to other hosts: deploys of this host need its disk and its link, too. */
export const mostTransfers = 16;

export type Transfers = {
  /** Counts a body until it is closed. @throws DistributionError TOOMANYREQUESTS: the other host has better sources. */
  run(open: () => Promise<BlobContent>): Promise<BlobContent>;
};

export function createTransfers(most = mostTransfers): Transfers {
  let running = 0;
  return {
    async run(open) {
      if (running >= most) throw new DistributionError("TOOMANYREQUESTS", { transfers: running, retryAfterSeconds: 1 });
      running += 1;
      try {
        const content = await open();
        content.body.once("close", () => (running -= 1));
        return content;
      } catch (error) {
        running -= 1;
        throw error;
      }
    },
  };
}

/** What this host itself has, as other hosts may read it: by digest, without a lease on anybody's behalf and without a source behind it. */
export function ownContent({ blobs, manifests }: ReadableStore, transfers: Transfers): ReadableStore {
  const read: ReadableStore["manifests"]["read"] = async (repository, reference, signal) =>
    reference.kind === "digest" ? manifests.read(repository, reference, signal) : undefined;
  return {
    blobs: {
      async stat(repository, digest, signal) {
        const { sizeBytes, body } = await blobs.read(repository, digest, undefined, signal);
        body.destroy();
        return { mediaType: "application/octet-stream", digest, size: sizeBytes };
      },
      read: (repository, digest, range, signal) => transfers.run(() => blobs.read(repository, digest, range, signal)),
    },
    manifests: { read, resolve: async (repository, reference, signal) => (await read(repository, reference, signal))?.descriptor },
  };
}
