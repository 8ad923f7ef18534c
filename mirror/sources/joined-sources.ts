import { Readable } from "node:stream";
import { BoundedMap } from "../../config/bounded-map.ts";
import type { Digest } from "../../oci/digest.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { Repository } from "../../oci/repository.ts";
import { type SourcePack, parseSourceManifest } from "../../oci/source-manifest.ts";
import type { BlobContent, BlobStore, ManifestContent } from "../../oci/store.ts";
import type { ReadableStore } from "../pull/readable-store.ts";
import { SourceRefusedError, createTarCheck } from "./tar-check.ts";

/** Sources of one org's builds, each the tar that its packs are together, under the digest of the list of them; or one that is a tar. */
export type JoinedSources = {
  /** As of a blob. A body ends before its last byte when the source is refused; ranges are not served. */
  readonly blobs: Pick<BlobStore, "stat" | "read">;
  /** Why the source is refused; undefined when nothing is known against it. */
  faultOf(repository: Repository, digest: Digest): string | undefined;
};

/** so many packs are on their way beside the one that is read */
const packsAhead = 4;
const mostFaults = 256;

/** @param store where lists and packs are read, and kept on their way */
export function createJoinedSources(org: string, store: ReadableStore): JoinedSources {
  const faults = new BoundedMap<string, string>(mostFaults);

  async function packsOf(repository: Repository, digest: Digest, signal: AbortSignal): Promise<readonly SourcePack[] | undefined> {
    if (!repository.startsWith(`${org}/`)) return undefined;
    const content = await store.manifests.read(repository, { kind: "digest", digest }, signal);
    if (content !== undefined) return readList(repository, content);
    // as runs of before have it: the tar itself
    const tar = await store.blobs.stat(repository, digest, signal);
    return tar === undefined ? undefined : [{ digest, size: tar.size }];
  }

  function readList(repository: Repository, { descriptor, bytes }: ManifestContent): readonly SourcePack[] {
    try {
      return parseSourceManifest(bytes, descriptor.mediaType);
    } catch (error) {
      faults.set(keyOf(repository, descriptor.digest), `The source is refused: "${descriptor.digest}" is no list of packs; deploy again`);
      throw error;
    }
  }

  /** The tar, each byte of it looked at before it is passed on. */
  async function* join(repository: Repository, digest: Digest, packs: readonly SourcePack[], signal: AbortSignal): AsyncGenerator<Buffer> {
    const check = createTarCheck();
    try {
      for await (const chunk of inOrder(store, repository, packs, signal)) {
        check.feed(chunk);
        yield chunk;
      }
      check.end();
    } catch (error) {
      if (error instanceof SourceRefusedError) faults.set(keyOf(repository, digest), error.message);
      throw error;
    }
  }

  return {
    blobs: {
      async stat(repository, digest, signal) {
        const packs = await packsOf(repository, digest, signal);
        return packs === undefined ? undefined : { mediaType: "application/x-tar", digest, size: sizeOf(packs) };
      },
      async read(repository, digest, _range, signal): Promise<BlobContent> {
        const fault = faults.get(keyOf(repository, digest));
        if (fault !== undefined) throw new DistributionError("MANIFEST_INVALID", { digest, reason: fault });
        const packs = await packsOf(repository, digest, signal);
        if (packs === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
        const body = Readable.from(holdingLast(join(repository, digest, packs, signal)), { objectMode: false });
        return { sizeBytes: sizeOf(packs), body };
      },
    },
    faultOf: (repository, digest) => faults.get(keyOf(repository, digest)),
  };
}

const keyOf = (repository: Repository, digest: Digest): string => `${repository}@${digest}`;

const sizeOf = (packs: readonly SourcePack[]): number => packs.reduce((sum, { size }) => sum + size, 0);

/** The last chunk comes when all is known to be right: nobody takes a refused source for whole. */
async function* holdingLast(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer | undefined;
  for await (const chunk of chunks) {
    if (held !== undefined) yield held;
    held = chunk;
  }
  if (held !== undefined) yield held;
}

/** The bytes of all packs; the next ones are fetched while one is read. */
async function* inOrder(
  { blobs }: ReadableStore,
  repository: Repository,
  packs: readonly SourcePack[],
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const ahead: Promise<BlobContent>[] = [];
  let next = 0;
  const openNext = (): void => {
    const pack = packs[next++];
    if (pack === undefined) return;
    const opening = open(blobs, repository, pack, signal);
    opening.catch(() => undefined);
    ahead.push(opening);
  };
  try {
    for (let count = 0; count <= packsAhead; count += 1) openNext();
    for (const pack of packs) {
      const { body } = await ahead[0]!;
      let readBytes = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        readBytes += chunk.length;
        yield chunk;
      }
      if (readBytes !== pack.size)
        throw new DistributionError("UNAVAILABLE", { digest: pack.digest, reason: "a pack broke off", readBytes });
      void ahead.shift();
      openNext();
    }
  } finally {
    for (const opening of ahead) opening.then(({ body }) => body.destroy()).catch(() => undefined);
  }
}

async function open(blobs: ReadableStore["blobs"], repository: Repository, pack: SourcePack, signal: AbortSignal): Promise<BlobContent> {
  const content = await blobs.read(repository, pack.digest, undefined, signal);
  // it may break before its turn comes, and whoever reads it then hears of it
  content.body.on("error", () => undefined);
  if (content.sizeBytes === pack.size) return content;
  content.body.destroy();
  throw new SourceRefusedError(
    `The source is refused: a pack of it has ${content.sizeBytes} bytes, expected ${pack.size} as its list says; deploy again`,
  );
}
