import { type ContainerdNamespace, orUndefined } from "../../containerd/client.ts";
import { keepExisting, openBlob, statBlob } from "../../containerd/content.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobContent, BlobStore, ByteRange } from "../../oci/store.ts";
import { membership, requireOwnRepository } from "./org-repository.ts";
import type { PushSession, PushSessions } from "./push-sessions.ts";
import { asDistributionErrors } from "./storage-error.ts";

export type StoreParts = { readonly org: string; readonly ns: ContainerdNamespace; readonly sessions: PushSessions };

/** The blobs of one org's repositories, in containerd's content store. */
export function createBlobStore({ org, ns, sessions }: StoreParts): BlobStore {
  return {
    async stat(repository, digest, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        if ((await statMember(ns, repository, digest, signal)) === undefined) return undefined;
        // a client that hears "present" does not send it
        return sessions.within(repository, signal, (session) => holdMember(ns, session, repository, digest, signal));
      });
    },
    async read(repository, digest, range, signal) {
      requireOwnRepository(org, repository);
      return asDistributionErrors(async () => {
        const content = await readMember(ns, { repository, digest }, range, signal);
        if (content === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
        return content;
      });
    },
    async mount(repository, digest, from, signal) {
      requireOwnRepository(org, repository);
      if (!from.startsWith(`${org}/`)) return undefined;
      return asDistributionErrors(async () => {
        if ((await statMember(ns, from, digest, signal)) === undefined) return undefined;
        return sessions.within(repository, signal, async (session) => {
          const found = await holdMember(ns, session, from, digest, signal);
          if (found !== undefined) await keepExisting(session.ns, digest, membership.blobLabels(repository), signal);
          return found;
        });
      });
    },
  };
}

/** What the repository itself has; undefined for content that only others have. */
export async function statMember(
  ns: ContainerdNamespace,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<Descriptor | undefined> {
  const stat = await statBlob(ns, digest, signal);
  if (stat === undefined || !membership.includes(repository, stat)) return undefined;
  return {
    mediaType: membership.manifestType(repository, stat) ?? "application/octet-stream",
    digest,
    size: stat.sizeBytes,
  };
}

/** Undefined for what the repository does not have. @throws DistributionError RANGE_INVALID. */
export async function readMember(
  ns: ContainerdNamespace,
  { repository, digest }: { readonly repository: Repository; readonly digest: Digest },
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<BlobContent | undefined> {
  const found = await statMember(ns, repository, digest, signal);
  if (found === undefined) return undefined;
  const clipped = range === undefined ? undefined : clipRange(range, found.size);
  // the collector may be quicker; what is open stays readable
  const body = await orUndefined(openBlob(ns, digest, clipped, signal));
  return body === undefined ? undefined : { sizeBytes: found.size, ...(clipped === undefined ? {} : { range: clipped }), body };
}

/** Puts what the repository has under the push's lease, and looks again after: the collector may have come in between. */
export async function holdMember(
  ns: ContainerdNamespace,
  session: PushSession,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<Descriptor | undefined> {
  if ((await statMember(ns, repository, digest, signal)) === undefined) return undefined;
  await session.pin(digest, signal);
  return statMember(ns, repository, digest, signal);
}

/** @throws DistributionError RANGE_INVALID when the range begins behind the end. */
export function clipRange({ first, last }: ByteRange, sizeBytes: number): { readonly first: number; readonly last: number } {
  if (first >= sizeBytes) throw new DistributionError("RANGE_INVALID", { first, sizeBytes });
  return { first, last: Math.min(last ?? sizeBytes - 1, sizeBytes - 1) };
}
