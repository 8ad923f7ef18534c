import { BoundedMap } from "../../config/bounded-map.ts";
import { getImage, putImage } from "../../containerd/images.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import { parseManifest } from "../../oci/manifest.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import type { Repository } from "../../oci/repository.ts";
import type { ManifestContent } from "../../oci/store.ts";
import { type NamedSizes, namedSize, sizesIn } from "../pull/children-in.ts";
import type { RegistryCopies } from "../pull/copied-registry.ts";
import { createUses, fetchedLabels } from "../pull/fetched-record.ts";
import { type StoreParts, readMember, statMember } from "./blob-store.ts";
import { copyOf } from "./copy-names.ts";
import { type KeepParts, openKeeper } from "./keep-blob.ts";
import { imageNames } from "./org-repository.ts";
import { readManifestBytes } from "./read-manifest.ts";
import type { RepositoryTurns } from "./repository-turns.ts";
import { storeManifest } from "./write-manifest.ts";

export type CopiesParts = StoreParts & Omit<KeepParts, "arrived"> & { readonly imageHost: string; readonly turns: RepositoryTurns };

/** What an org has pulled of other registries, each by its host. */
export type Copies = (host: string) => RegistryCopies;

/** Manifests whose blobs nobody asked for make room for others. */
const mostManifests = 256;

/**
 * Manifests are stored as they come, before anything that they name, as nobody pushes there; configs and layers when they are read. None
 * is unpacked: builders unpack for themselves, and an app's image brings its base's layers along. Bytes that another repository of the org
 * has count for nothing here: a stranger's manifest may name the digests of another app's.
 */
export function createCopies(parts: CopiesParts): Copies {
  const { ns, org, imageHost, sessions, turns, log } = parts;
  const uses = createUses(parts);
  const named = new BoundedMap<string, NamedSizes>(mostManifests);

  function saw(repository: Repository, content: ManifestContent): void {
    const sizes = sizesIn(repository, content);
    if (sizes !== undefined) named.set(`${repository}@${content.descriptor.digest}`, sizes);
  }

  /** Undefined for what is here as a blob only. */
  async function statManifest(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Descriptor | undefined> {
    const found = await statMember(ns, repository, digest, signal);
    return found?.mediaType === "application/octet-stream" ? undefined : found;
  }

  async function findManifest(repository: Repository, digest: Digest, signal: AbortSignal): Promise<ManifestContent | undefined> {
    const descriptor = await statManifest(repository, digest, signal);
    if (descriptor === undefined) return undefined;
    const bytes = await readManifestBytes(ns, digest, signal);
    if (bytes === undefined) return undefined;
    saw(repository, { descriptor, bytes });
    return { descriptor, bytes };
  }

  /** What the record of that name says, whether or not it is here. */
  const recorded = async (name: string, signal: AbortSignal): Promise<Digest | undefined> =>
    (await getImage(ns, name, signal))?.target.digest;

  const nameOf = (repository: Repository, reference: ManifestReference): string =>
    reference.kind === "tag"
      ? imageNames.tagged(imageHost, repository, reference.tag)
      : imageNames.byDigest(imageHost, repository, reference.digest);

  /** The content, and then the record that keeps it. */
  async function store({ host, repository, reference, content }: Named, signal: AbortSignal): Promise<void> {
    const { descriptor, bytes } = content;
    const { mediaType, digest } = descriptor;
    const manifest = parseManifest(bytes, mediaType);
    await sessions.within(repository, signal, async (session) => {
      await storeManifest(session, { repository, reference, mediaType, bytes, tags: [], manifest, descriptor }, signal);
      const labels = { "slipway.repository": repository, ...fetchedLabels(host, Date.now()) };
      await turns.change(repository, (turn) => putImage(ns, { name: nameOf(repository, reference), target: descriptor, labels }, turn));
      sessions.settled(repository, [digest]);
    });
  }

  return (host) => ({
    async manifest(original, reference, signal) {
      const repository = copyOf(host, original);
      const name = nameOf(repository, reference);
      const digest = reference.kind === "tag" ? await recorded(name, signal) : reference.digest;
      const found = digest === undefined ? undefined : await findManifest(repository, digest, signal);
      if (found !== undefined) uses.noteUse(name);
      return found;
    },
    async keep(original, reference, content, signal) {
      const repository = copyOf(host, original);
      const name = nameOf(repository, reference);
      const { digest } = content.descriptor;
      saw(repository, content);
      try {
        const isKept = (await recorded(name, signal)) === digest && (await statManifest(repository, digest, signal)) !== undefined;
        if (isKept) uses.noteUse(name);
        else await store({ host, repository, reference, content }, signal);
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ err: error, org, image: name }, "cannot keep another registry's manifest: it passes through");
      }
    },
    blobs: {
      stat: (original, digest, signal) => statMember(ns, copyOf(host, original), digest, signal),
      async read(original, digest, range, signal) {
        const found = await readMember(ns, { repository: copyOf(host, original), digest }, range, signal);
        if (found === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
        return found;
      },
    },
    fetched: {
      async keep(original, digest, sizeBytes) {
        const repository = copyOf(host, original);
        try {
          const onStored = (): void => sessions.settled(repository, [digest]);
          return await openKeeper(parts, { repository, digest, sizeBytes, onStored, refused: undefined });
        } catch (error) {
          log.warn({ err: error, org, repository, digest }, "cannot keep another registry's blob: it passes through");
          return undefined;
        }
      },
      sizeOf: (original, digest) => namedSize(named.values(), copyOf(host, original), digest),
      expect: () => undefined,
    },
  });
}

type Named = {
  readonly host: string;
  readonly repository: Repository;
  readonly reference: ManifestReference;
  readonly content: ManifestContent;
};
