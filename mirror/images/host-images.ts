import { orgNamespace } from "../../config/paths.ts";
import type { Settings } from "../../config/settings.ts";
import { type Containerd, isNotFound } from "../../containerd/client.ts";
import { statBlob } from "../../containerd/content.ts";
import { getImage, listImages } from "../../containerd/images.ts";
import { addToLease, createLease, deleteLease, listLeases } from "../../containerd/leases.ts";
import type { Digest } from "../../oci/digest.ts";
import { type Repository, type Tag, isRepository, isTag } from "../../oci/repository.ts";
import { ImageVerificationError } from "./image-verification-error.ts";
import { imageNames } from "../store/org-repository.ts";
import { verifyStoredImage } from "./verify-stored-image.ts";

export { ImageVerificationError, type ImageVerificationCode } from "./image-verification-error.ts";

export type HostImage = {
  /** what a machine is started from: `imageHost/org/app:tag` */
  readonly name: string;
  readonly repository: Repository;
  readonly tag: Tag;
  readonly digest: Digest;
  /** held for replication: upstream does not have it for sure yet */
  readonly pinned: boolean;
};

/** Images of this host as containerd has them. */
export type HostImages = {
  /**
   * Reads back what the mirror recorded under the tag, byte by byte where it decides anything: manifest, config, layers, snapshots.
   * `digest` is the record's: an index stays one. @throws ImageVerificationError.
   */
  verify(
    image: { readonly org: string; readonly repository: Repository; readonly tag: string; readonly exporterDigest?: Digest },
    signal: AbortSignal,
  ): Promise<{ readonly digest: Digest; readonly sizeBytes: number }>;
  /** Keeps the image, whatever becomes of its record, until `unpin`. Idempotent. @throws ImageVerificationError CONTENT_MISSING. */
  pin(org: string, repository: Repository, digest: Digest, signal: AbortSignal): Promise<void>;
  unpin(org: string, repository: Repository, digest: Digest, signal: AbortSignal): Promise<void>;
  list(org: string, signal: AbortSignal): Promise<HostImage[]>;
};

/** Leases that hold images until upstream has them. */
export const pinPrefix = "replicate/";
const pinOf = (repository: Repository, digest: Digest): string => `${pinPrefix}${repository}/${digest}`;

export function createHostImages(deps: {
  readonly containerd: Containerd;
  readonly settings: Pick<Settings, "registry" | "containerd">;
}): HostImages {
  const { containerd, settings } = deps;
  const { imageHost } = settings.registry;
  const { snapshotter } = settings.containerd;
  const namespaceOf = (org: string) => containerd.namespace(orgNamespace(org));

  return {
    async verify({ org, repository, tag, exporterDigest }, signal) {
      const ns = namespaceOf(org);
      const name = imageNames.tagged(imageHost, repository, tag);
      const record = await getImage(ns, name, signal);
      if (record === undefined) throw new ImageVerificationError("IMAGE_RECORD_MISSING", { name });
      const { digest } = record.target;
      if (exporterDigest !== undefined && exporterDigest !== digest) {
        throw new ImageVerificationError("DIGEST_MISMATCH", { name, found: digest, expected: exporterDigest });
      }
      const { sizeBytes } = await verifyStoredImage(ns, { repository, digest, snapshotter }, signal);
      return { digest, sizeBytes };
    },
    async pin(org, repository, digest, signal) {
      const ns = namespaceOf(org);
      const id = pinOf(repository, digest);
      await createLease(ns, { id, labels: { "slipway.repository": repository, "slipway.digest": digest } }, signal);
      await addToLease(ns, id, { type: "content", id: digest }, signal);
      // a lease takes what is not there without a word
      if ((await statBlob(ns, digest, signal)) !== undefined) return;
      await deleteLease(ns, id, signal);
      throw new ImageVerificationError("CONTENT_MISSING", { digest });
    },
    async unpin(org, repository, digest, signal) {
      await deleteLease(namespaceOf(org), pinOf(repository, digest), signal);
    },
    async list(org, signal) {
      const ns = namespaceOf(org);
      const pins = new Set((await leasesOf(ns, signal)).map(({ id }) => id));
      const prefix = `${imageHost}/`;
      const records = await listImages(ns, [], signal);
      return records.flatMap(({ name, target }) => {
        const colon = name.lastIndexOf(":");
        const [repository, tag] = [name.slice(prefix.length, colon), name.slice(colon + 1)];
        if (!name.startsWith(`${prefix}${org}/`) || !isRepository(repository) || !isTag(tag)) return [];
        return [{ name, repository, tag, digest: target.digest, pinned: pins.has(pinOf(repository, target.digest)) }];
      });
    },
  };
}

/** A namespace that does not exist has no leases. */
async function leasesOf(ns: Parameters<typeof listLeases>[0], signal: AbortSignal): Promise<Awaited<ReturnType<typeof listLeases>>> {
  try {
    return await listLeases(ns, signal);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}
