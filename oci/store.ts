import type { Readable } from "node:stream";
import type { Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";
import type { ManifestReference } from "./reference.ts";
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
  start(repository: Repository, signal: AbortSignal): Promise<UploadStatus>;
  status(repository: Repository, id: string, signal: AbortSignal): Promise<UploadStatus>;
  /** Streams `body` in with back-pressure; an undefined offset means "wherever we are". */
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
  ): Promise<Descriptor>;
  /** Tags in ASCII order after `last`; undefined when the repository is unknown. */
  tags(repository: Repository, page: { limit?: number; last?: string }, signal: AbortSignal): Promise<readonly Tag[] | undefined>;
}

/** What the Distribution routes need; the registry's S3 store and the mirror's containerd store both are one. */
export interface DistributionStore {
  readonly blobs: BlobStore;
  readonly uploads: UploadStore;
  readonly manifests: ManifestStore;
}
