import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Descriptor } from "../oci/descriptor.ts";
import { parseDigest } from "../oci/digest.ts";
import type { Image } from "../proto/gen/services/images/v1/images_pb.ts";
import { type ContainerdNamespace, isAlreadyExists, isNotFound, orUndefined } from "./client.ts";
import { type Labels, labelMask } from "./labels.ts";

/** containerd's image record: a name that keeps its target, and all the target refers to, from the garbage collector. */
export type ImageRecord = { readonly name: string; readonly target: Descriptor; readonly labels: Labels };

/** A record as containerd has it: `changedAtMs` is when it was created, moved or labelled last, by the host's clock. */
export type StoredImageRecord = ImageRecord & { readonly changedAtMs: number };

/** Undefined when there is no record of that name. */
export async function getImage(ns: ContainerdNamespace, name: string, signal: AbortSignal): Promise<StoredImageRecord | undefined> {
  const response = await orUndefined(ns.images.get({ name }, { signal }));
  return response?.image === undefined ? undefined : parseImage(response.image);
}

/**
 * Creates the record or moves it to the target; labels of others stay. containerd does not look whether the target exists:
 * write it, and the labels that refer to its children, before.
 */
export async function putImage(ns: ContainerdNamespace, image: ImageRecord, signal: AbortSignal): Promise<void> {
  const { name, labels } = image;
  const target = { mediaType: image.target.mediaType, digest: image.target.digest, size: BigInt(image.target.size) };
  try {
    await ns.images.create({ image: { name, target, labels } }, { signal });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    const updateMask = { paths: ["target", ...labelMask(labels).paths] };
    await ns.images.update({ image: { name, target, labels }, updateMask }, { signal });
  }
}

/** Sets labels of a record and leaves its target, wherever that has moved; answers false when the record is gone. */
export async function labelImage(
  ns: ContainerdNamespace,
  { name, target }: Pick<ImageRecord, "name" | "target">,
  labels: Labels,
  signal: AbortSignal,
): Promise<boolean> {
  // not in the mask; but a message without it ends containerd 2.4
  const { mediaType, digest, size } = target;
  const image = { name, labels, target: { mediaType, digest, size: BigInt(size) } };
  return (await orUndefined(ns.images.update({ image, updateMask: labelMask(labels) }, { signal }))) !== undefined;
}

/** A record that is gone already is a success. `sync` waits for the garbage collection that follows. */
export async function deleteImage(ns: ContainerdNamespace, name: string, signal: AbortSignal, sync = false): Promise<void> {
  try {
    await ns.images.delete({ name, sync }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/**
 * Deletes the record while it names this target; answers false when it is gone or has moved. containerd 1.7 does not know the condition
 * and deletes it wherever it points: look right before.
 */
export async function deleteImageOf(
  ns: ContainerdNamespace,
  { name, target }: Pick<ImageRecord, "name" | "target">,
  signal: AbortSignal,
): Promise<boolean> {
  const { mediaType, digest, size } = target;
  const deleted = await orUndefined(ns.images.delete({ name, target: { mediaType, digest, size: BigInt(size) } }, { signal }));
  return deleted !== undefined;
}

/** Records that match any of the filters (containerd's filter syntax, e.g. `name~="^registry/org/"`); all of them without one. */
export async function listImages(ns: ContainerdNamespace, filters: readonly string[], signal: AbortSignal): Promise<StoredImageRecord[]> {
  const { images } = await ns.images.list({ filters: [...filters] }, { signal });
  return images.map(parseImage);
}

function parseImage(image: Image): StoredImageRecord {
  const { name, target, labels, createdAt, updatedAt } = image;
  if (target === undefined) throw new TypeError(`Cannot read image record "${name}": it has no target`);
  const descriptor = { mediaType: target.mediaType, digest: parseDigest(target.digest), size: Number(target.size) };
  const changedAtMs = Math.max(...[createdAt, updatedAt].map((time) => (time === undefined ? 0 : timestampMs(time))));
  return { name, target: descriptor, labels, changedAtMs };
}
