import { Readable } from "node:stream";
import type { Descriptor } from "../../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../../oci/digest.ts";
import { mediaTypes } from "../../../oci/media-types.ts";
import { parseManifestReference } from "../../../oci/reference.ts";
import type { Repository } from "../../../oci/repository.ts";
import { formatSourceManifest } from "../../../oci/source-manifest.ts";
import type { DistributionStore } from "../../../oci/store.ts";

/** Pushes to a store and reads from it what a test is about, without HTTP. */
export type StoredImages = ReturnType<typeof createStoredImages>;

export function createStoredImages(store: DistributionStore, signal: AbortSignal) {
  return {
    push: async (repository: Repository, bytes: Buffer): Promise<Descriptor> => {
      const { id } = await store.uploads.start(repository, signal);
      await store.uploads.append(repository, id, undefined, Readable.from([bytes]), signal);
      return store.uploads.finish(repository, id, digestOf(bytes), signal);
    },
    /** An image manifest of a config and layers. */
    pushManifest: async (repository: Repository, tag: string, blobs: readonly Descriptor[]): Promise<Digest> => {
      const [config, ...layers] = blobs;
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.imageManifest, config, layers }));
      return (await store.manifests.write(repository, parseManifestReference(tag), mediaTypes.imageManifest, bytes, signal)).digest;
    },
    /** The list of a source's packs. */
    pushSource: async (repository: Repository, packs: readonly Descriptor[], tag?: string): Promise<Digest> => {
      const bytes = formatSourceManifest(packs);
      const reference = parseManifestReference(tag ?? digestOf(bytes));
      return (await store.manifests.write(repository, reference, mediaTypes.imageManifest, bytes, signal)).digest;
    },
    /** Whether the bytes of the digest come, and are its bytes. */
    isThere: async (repository: Repository, digest: Digest): Promise<boolean> => {
      const content = await store.blobs.read(repository, digest, undefined, signal).catch(() => undefined);
      return content !== undefined && digestOf(Buffer.concat((await content.body.toArray()) as Buffer[])) === digest;
    },
  };
}
