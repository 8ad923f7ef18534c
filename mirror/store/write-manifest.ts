import { isNotFound } from "../../containerd/client.ts";
import { setLabels, writeBlob } from "../../containerd/content.ts";
import { readManifest } from "../../containerd/image.ts";
import { gcLabels, type Labels } from "../../containerd/labels.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestOf } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { type Manifest, childrenOf, parseManifest } from "../../oci/manifest.ts";
import { isImageIndexType, isImageManifestType } from "../../oci/media-types.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import type { Repository, Tag } from "../../oci/repository.ts";
import { requireChildren } from "../../oci/require-children.ts";
import type { WrittenManifest } from "../../oci/store.ts";
import type { Unpacker } from "../unpack/unpack-pushed.ts";
import { type StoreParts, holdMember, statMember } from "./blob-store.ts";
import { type ImageRecords, createImageRecords } from "./image-records.ts";
import { membership } from "./org-repository.ts";
import type { PushSession } from "./push-sessions.ts";
import { readManifestBytes } from "./read-manifest.ts";
import type { RepositoryTurns } from "./repository-turns.ts";
import { asDigestRefusal, isLeaseGone } from "./storage-error.ts";

export type ManifestStoreParts = StoreParts & {
  readonly imageHost: string;
  readonly unpacker: Unpacker;
  readonly turns: RepositoryTurns;
  /** hears of each manifest that is in, with all beneath it */
  readonly recorded?: (repository: Repository, digest: Digest) => void;
};

export type ManifestPush = {
  readonly repository: Repository;
  readonly reference: ManifestReference;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  /** beside the reference, when that is a digest */
  readonly tags: readonly Tag[];
  /** for the tag of the reference */
  readonly mayReplace?: (current: Digest | undefined) => boolean;
};

/** A push with what follows from it. */
export type ParsedPush = ManifestPush & { readonly manifest: Manifest; readonly descriptor: Descriptor };

/** The collector may take content between the look and the lease; more often in a row than this it does not. */
const mostAttempts = 3;

/**
 * Stores a manifest whose children are all here and under the push's lease, unpacks it, and only then makes it known: from that moment
 * on it can be started, and the collector leaves all of it alone.
 */
export async function writeManifest(parts: ManifestStoreParts, push: ManifestPush, signal: AbortSignal): Promise<WrittenManifest> {
  const { repository, reference } = push;
  const parsed = { ...push, manifest: parseManifest(push.bytes, push.mediaType), descriptor: describe(push) };
  const tags = reference.kind === "tag" ? [reference.tag] : push.tags;
  const records = createImageRecords(parts.ns, parts.imageHost, repository);
  await requireReplaceable(records, parsed, signal);
  await parts.sessions.within(repository, signal, async (session) => {
    const { deletions } = parts.turns;
    await holdChildren(parts, session, parsed, signal);
    await storeManifest(session, parsed, signal);
    await parts.unpacker.unpackPushed(session, parsed.manifest, parsed.descriptor, signal);
    signal.throwIfAborted();
    await parts.turns.change(repository, async (turn) => {
      if (parts.turns.deletions !== deletions) await restore(parts, session, parsed, turn);
      await requireReplaceable(records, parsed, turn);
      await record(records, parsed, tags, turn);
    });
    await settle(parts, parsed, signal);
  });
  parts.recorded?.(repository, parsed.descriptor.digest);
  const { subject } = parsed.manifest;
  return { ...parsed.descriptor, tags, ...(subject === undefined ? {} : { subject: subject.digest }) };
}

/** @throws DistributionError DIGEST_INVALID when pushed by another digest than its own. */
function describe({ reference, mediaType, bytes }: ManifestPush): Descriptor {
  const digest = digestOf(bytes, reference.kind === "digest" ? digestAlgorithm(reference.digest) : "sha256");
  if (reference.kind === "digest" && reference.digest !== digest) {
    throw new DistributionError("DIGEST_INVALID", { digest: reference.digest, found: digest });
  }
  return { mediaType, digest, size: bytes.length };
}

async function requireReplaceable(records: ImageRecords, { reference, mayReplace }: ParsedPush, signal: AbortSignal): Promise<void> {
  if (mayReplace === undefined || reference.kind !== "tag") return;
  const found = (await records.tagged(reference.tag, signal))?.digest;
  if (!mayReplace(found)) throw new DistributionError("PRECONDITION_FAILED", { tag: reference.tag, found: found ?? "no such tag" });
}

/** Every child must be in this repository, with the size that is named, when it is under this push's lease. */
async function holdChildren(
  { ns }: StoreParts,
  session: PushSession,
  { repository, manifest }: ParsedPush,
  signal: AbortSignal,
): Promise<void> {
  const source = {
    stat: ({ digest }: Descriptor) => holdMember(ns, session, repository, digest, signal),
    readManifest: (digest: Digest) => readManifestBytes(ns, digest, signal),
  };
  await requireChildren(source, manifest);
}

/** Stores a manifest under the lease, with the labels by which containerd keeps what it names. */
export async function storeManifest(session: PushSession, push: ParsedPush, signal: AbortSignal): Promise<void> {
  const { repository, manifest, descriptor, bytes } = push;
  const found = await statMember(session.ns, repository, descriptor.digest, signal);
  if (found !== undefined && found.mediaType !== "application/octet-stream" && found.mediaType !== descriptor.mediaType) {
    throw new DistributionError("MANIFEST_INVALID", { field: "mediaType", found: descriptor.mediaType, expected: found.mediaType });
  }
  // in one message with the bytes: a manifest without them would not hold its children for a moment
  const labels = { ...childLabels(manifest), ...labelsOf(push) };
  for (let attempt = 1; ; attempt += 1) {
    try {
      await writeBlob(session.ns, bytes, descriptor, labels, signal);
      break;
    } catch (error) {
      if (!isNotFound(error) || isLeaseGone(error) || attempt === mostAttempts) throw asDigestRefusal(error);
    }
  }
  session.wrote(descriptor.digest);
}

const labelsOf = ({ repository, manifest, descriptor }: ParsedPush): Labels =>
  membership.manifestLabels(repository, descriptor.mediaType, manifest.subject?.digest);

export function childLabels(manifest: Manifest): Labels {
  if (manifest.kind === "index") {
    return Object.fromEntries(manifest.manifests.map(({ digest }, index) => [gcLabels.manifest(index), digest]));
  }
  const layers = manifest.layers.map(({ digest }, index) => [gcLabels.layer(index), digest] as const);
  return Object.fromEntries([[gcLabels.config, manifest.config.digest] as const, ...layers]);
}

/** What was looked at or stored before a deletion may be out of the repository by now; the lease still holds the content. */
async function restore(parts: ManifestStoreParts, session: PushSession, push: ParsedPush, signal: AbortSignal): Promise<void> {
  await holdChildren(parts, session, push, signal);
  await setLabels(session.ns, push.descriptor.digest, labelsOf(push), signal);
}

/** Records come last. Those by digest alone that the new one holds, as the children of an index came, have done their service. */
async function record(
  records: ImageRecords,
  { manifest, descriptor }: ParsedPush,
  tags: readonly Tag[],
  signal: AbortSignal,
): Promise<void> {
  for (const tag of tags) await records.tag(tag, descriptor, signal);
  if (tags.length === 0) await records.keep(descriptor, signal);
  else await records.letGo(descriptor.digest, signal);
  if (manifest.kind === "index") for (const { digest } of manifest.manifests) await records.letGo(digest, signal);
}

/** What the new record holds needs the push's lease no more. */
async function settle({ ns, sessions }: StoreParts, { repository, manifest, descriptor }: ParsedPush, signal: AbortSignal): Promise<void> {
  const children = childrenOf(manifest).map(({ digest }) => digest);
  sessions.settled(repository, [descriptor.digest, ...children, ...(await grandchildrenOf(ns, manifest, signal))]);
}

/** Blobs of an index's images: a pusher that found the image here asked for them, and did not send it. */
async function grandchildrenOf(ns: StoreParts["ns"], manifest: Manifest, signal: AbortSignal): Promise<Digest[]> {
  if (manifest.kind === "image") return [];
  const digests: Digest[] = [];
  for (const { digest, mediaType } of manifest.manifests) {
    if (!isImageManifestType(mediaType) && !isImageIndexType(mediaType)) continue;
    // the image is in already: what cannot be read here only keeps the lease until it idles out
    const child = await readManifest(ns, digest, signal).catch(() => undefined);
    if (child !== undefined) digests.push(...childrenOf(child).map((grandchild) => grandchild.digest));
  }
  return digests;
}
