import type { ContainerdNamespace } from "../../containerd/client.ts";
import { type StoredImageRecord, deleteImage, getImage, listImages, putImage } from "../../containerd/images.ts";
import type { Labels } from "../../containerd/labels.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { type Repository, type Tag, isTag } from "../../oci/repository.ts";
import { notFetched } from "../pull/fetched-record.ts";
import { imageNames, supersededLabel } from "./org-repository.ts";

/** The image records of one repository, as `imageNames` has them. Whoever changes any has the repository's turn. */
export type ImageRecords = {
  /** What a tag names. */
  tagged(tag: Tag, signal: AbortSignal): Promise<Descriptor | undefined>;
  /** Tags that have a record, in ASCII order. */
  tags(signal: AbortSignal): Promise<readonly Tag[]>;
  /** Makes a tag name a manifest. What it named before stays under its digest: that record comes first. */
  tag(tag: Tag, target: Descriptor, signal: AbortSignal): Promise<void>;
  /** Frees a tag; what it named stays under its digest. Answers false when there is no such tag. */
  untag(tag: Tag, signal: AbortSignal): Promise<boolean>;
  /** Keeps a manifest by its digest alone. */
  keep(target: Descriptor, signal: AbortSignal): Promise<void>;
  /** What is held otherwise needs no record by its digest. */
  letGo(digest: Digest, signal: AbortSignal): Promise<void>;
  /** Removes whatever names the manifest. */
  remove(digest: Digest, signal: AbortSignal): Promise<void>;
};

export function createImageRecords(ns: ContainerdNamespace, imageHost: string, repository: Repository): ImageRecords {
  const nameOf = (tag: Tag) => imageNames.tagged(imageHost, repository, tag);
  const byDigest = (digest: Digest) => imageNames.byDigest(imageHost, repository, digest);
  const filter = imageNames.filterOf(imageHost, repository);

  async function put(name: string, target: Descriptor, labels: Labels, signal: AbortSignal): Promise<void> {
    await putImage(ns, { name, target, labels: { "slipway.repository": repository, ...notFetched, ...labels } }, signal);
  }

  async function supersede(tag: Tag, { target }: StoredImageRecord, signal: AbortSignal): Promise<void> {
    // one that was pushed by its digest has not lost its only name
    if ((await getImage(ns, byDigest(target.digest), signal)) !== undefined) return;
    await put(byDigest(target.digest), target, { [supersededLabel]: tag }, signal);
  }

  return {
    tagged: async (tag, signal) => (await getImage(ns, nameOf(tag), signal))?.target,
    async tags(signal) {
      const prefix = imageNames.tagged(imageHost, repository, "");
      const records = await listImages(ns, [filter], signal);
      const tags = records.map(({ name }) => (name.startsWith(prefix) ? name.slice(prefix.length) : "")).filter(isTag);
      // by UTF-16, which is ASCII here
      return tags.toSorted();
    },
    async tag(tag, target, signal) {
      const before = await getImage(ns, nameOf(tag), signal);
      if (before !== undefined && before.target.digest !== target.digest) await supersede(tag, before, signal);
      await put(nameOf(tag), target, {}, signal);
    },
    async untag(tag, signal) {
      const before = await getImage(ns, nameOf(tag), signal);
      if (before === undefined) return false;
      await supersede(tag, before, signal);
      await deleteImage(ns, nameOf(tag), signal);
      return true;
    },
    // a label without a value is removed
    keep: (target, signal) => put(byDigest(target.digest), target, { [supersededLabel]: "" }, signal),
    letGo: (digest, signal) => deleteImage(ns, byDigest(digest), signal),
    async remove(digest, signal) {
      for (const { name } of await listImages(ns, [`${filter},target.digest=="${digest}"`], signal)) await deleteImage(ns, name, signal);
    },
  };
}
