import type { Readable } from "node:stream";
import type { Descriptor } from "./descriptor.ts";
import type { Digest, DigestAlgorithm } from "./digest.ts";
import type { ManifestReference } from "./reference.ts";
import type { ReferrerDescriptor } from "./referrer.ts";
import type { Repository, Tag } from "./repository.ts";

/** An inclusive byte range, already checked against nothing: the store clips it to the blob and answers what it served. */
export type ByteRange = { readonly first: number; readonly last?: number };

export type BlobContent = {
  /** the whole blob's size in bytes, whatever the range */
  readonly sizeBytes: number;
  /** what `body` holds, inclusive; absent when it is the whole blob */
  readonly range?: { readonly first: number; readonly last: number };
  readonly body: Readable;
};

/** A page of a listing: what comes after `last`, at most `limit`. */
export type Page = { readonly limit?: number; readonly last?: string };

export type ManifestContent = { readonly descriptor: Descriptor; readonly bytes: Uint8Array };

/** An upload session as the client sees it (distribution-spec, "Pushing a blob in chunks"). */
export type UploadStatus = { readonly id: string; readonly receivedBytes: number };

/**
 * Blobs of one repository. A digest that is not in *this* repository is unknown, whoever else has it.
 * Errors: DistributionError BLOB_UNKNOWN from `read`, RANGE_INVALID for a range outside the blob, UNAVAILABLE when the storage fails.
 */
export interface BlobStore {
  /** Undefined when absent. For a pusher a found blob stays protected until its manifest is in. */
  stat(repository: Repository, digest: Digest, signal: AbortSignal): Promise<Descriptor | undefined>;
  read(repository: Repository, digest: Digest, range: ByteRange | undefined, signal: AbortSignal): Promise<BlobContent>;
  /** Makes a blob of `from` part of `repository`; undefined when that cannot be (the client then uploads). */
  mount(repository: Repository, digest: Digest, from: Repository, signal: AbortSignal): Promise<Descriptor | undefined>;
}

/**
 * Upload sessions. An id is good for the repository it was started in and for no other.
 * Errors: BLOB_UPLOAD_UNKNOWN, RANGE_INVALID when `offset` is not what was received so far, DIGEST_INVALID at finish (nothing is
 * stored then), UNAVAILABLE.
 */
export interface UploadStore {
  /** `algorithm` is that of the digest to come, as far as the client tells; it may still finish with another. */
  start(repository: Repository, signal: AbortSignal, algorithm?: DigestAlgorithm): Promise<UploadStatus>;
  status(repository: Repository, id: string, signal: AbortSignal): Promise<UploadStatus>;
  /**
   * Streams `body` in with back-pressure; an undefined offset means "wherever we are". The chunks are the store's from then on: it may
   * give their memory back.
   */
  append(repository: Repository, id: string, offset: number | undefined, body: Readable, signal: AbortSignal): Promise<UploadStatus>;
  finish(repository: Repository, id: string, digest: Digest, signal: AbortSignal): Promise<Descriptor>;
  abort(repository: Repository, id: string, signal: AbortSignal): Promise<void>;
}

/**
 * Manifests and tags of one repository.
 * Errors: MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN when a descriptor it names is not in the repository, DIGEST_INVALID when pushed by
 * another digest than its own, UNAVAILABLE.
 */
export interface ManifestStore {
  resolve(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<Descriptor | undefined>;
  /** Undefined when absent. */
  read(repository: Repository, reference: ManifestReference, signal: AbortSignal): Promise<ManifestContent | undefined>;
  write(
    repository: Repository,
    reference: ManifestReference,
    mediaType: string,
    bytes: Uint8Array,
    signal: AbortSignal,
    more?: ManifestWriteOptions,
  ): Promise<WrittenManifest>;
  /** Tags in ASCII order after `last`; undefined when the repository is unknown. */
  tags(repository: Repository, page: Page, signal: AbortSignal): Promise<readonly Tag[] | undefined>;
}

export type ManifestWriteOptions = {
  /** tags that are to name the manifest beside its reference (distribution-spec, "Pushing Manifests": `?tag=`) */
  readonly tags?: readonly Tag[];
  /**
   * Asked with what the tag of the reference names, right before it is moved; false leaves it, with PRECONDITION_FAILED. A store that
   * cannot keep the promise refuses with UNSUPPORTED.
   */
  readonly mayReplace?: (current: Digest | undefined) => boolean;
};

export type WrittenManifest = Descriptor & {
  /** those of the asked tags that name it now; a store without this ability leaves it out */
  readonly tags?: readonly Tag[];
  /** the manifest that lists this one as a referrer now; left out by a store without referrers */
  readonly subject?: Digest;
};

/** One page of the referrers of a manifest; `next` asks for the page after it. */
export type ReferrersPage = { readonly referrers: readonly ReferrerDescriptor[]; readonly next?: string };

/** Which manifests of a repository name another as their subject, that one being there or not. */
export interface ReferrerStore {
  /** A page is as long as fits into a manifest; an empty one for a subject that nothing refers to. */
  list(
    repository: Repository,
    subject: Digest,
    ask: Page & { readonly artifactType?: string },
    signal: AbortSignal,
  ): Promise<ReferrersPage>;
}

/** Deletion takes effect before it is answered. False: there was nothing to delete. */
export interface DeleteStore {
  /** Takes the blob out of this repository only. */
  blob(repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean>;
  /** Takes the tags that name it along, and its entry among the referrers of its subject. */
  manifest(repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean>;
  tag(repository: Repository, tag: Tag, signal: AbortSignal): Promise<boolean>;
}

/**
 * What the Distribution routes need; the registry's S3 store and the mirror's containerd store both are one. What a store leaves out is
 * answered with 405 UNSUPPORTED.
 */
export interface DistributionStore {
  readonly blobs: BlobStore;
  readonly uploads: UploadStore;
  readonly manifests: ManifestStore;
  readonly referrers?: ReferrerStore;
  readonly deletes?: DeleteStore;
}
