import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { z } from "zod";
import { type Digest, digestAlgorithm, digestOf } from "../../oci/digest.ts";
import { digestSchema } from "../../oci/digest-schema.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { ManifestReference } from "../../oci/reference.ts";
import type { Repository } from "../../oci/repository.ts";
import type { BlobContent, ManifestContent } from "../../oci/store.ts";
import { clipRange } from "../store/blob-store.ts";
import type { ReadableStore } from "./readable-store.ts";
import { writeFileAtomic } from "../../config/write-file-atomic.ts";

/** Configs are small; layers stay in the builder's own cache. */
const blobLimitBytes = 1024 * 1024;

const storedTag = z.object({ digest: digestSchema });
const storedManifest = z.object({ mediaType: z.string(), base64: z.base64() });

/**
 * Keeps what a build needs of its base images beside their layers: which digest a tag meant, manifests and configs. Digests are
 * answered from here; tags only when nobody can be asked, so that a build whose layers are cached needs no registry (invariant 13).
 *
 *     <dir>/<hash of the repository>/tags/<tag>              {"digest"}
 *     <dir>/<hash of the repository>/manifests/<digest>      {"mediaType", "base64"}
 *     <dir>/<hash of the repository>/blobs/<digest>          the bytes
 */
export function createRememberingStore(source: ReadableStore, dir: string): ReadableStore {
  const fileOf = (repository: Repository, kind: "tags" | "manifests" | "blobs", name: string): string =>
    path.join(dir, createHash("sha256").update(repository).digest("hex").slice(0, 32), kind, name.replace(":", "-"));

  async function recallManifest(repository: Repository, digest: Digest): Promise<ManifestContent | undefined> {
    const stored = await recallJson(fileOf(repository, "manifests", digest), storedManifest);
    if (stored === undefined) return undefined;
    const bytes = Buffer.from(stored.base64, "base64");
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) return undefined;
    return { descriptor: { mediaType: stored.mediaType, digest, size: bytes.length }, bytes };
  }

  async function recallTagged(repository: Repository, tag: string): Promise<ManifestContent | undefined> {
    const stored = await recallJson(fileOf(repository, "tags", tag), storedTag);
    return stored === undefined ? undefined : recallManifest(repository, stored.digest);
  }

  async function remember(repository: Repository, reference: ManifestReference, { descriptor, bytes }: ManifestContent): Promise<void> {
    const manifest = { mediaType: descriptor.mediaType, base64: Buffer.from(bytes).toString("base64") };
    await writeFileAtomic(fileOf(repository, "manifests", descriptor.digest), JSON.stringify(manifest));
    if (reference.kind === "tag")
      await writeFileAtomic(fileOf(repository, "tags", reference.tag), JSON.stringify({ digest: descriptor.digest }));
  }

  async function recallBlob(repository: Repository, digest: Digest): Promise<Buffer | undefined> {
    const bytes = await readFileOrUndefined(fileOf(repository, "blobs", digest));
    return bytes !== undefined && digestOf(bytes, digestAlgorithm(digest)) === digest ? bytes : undefined;
  }

  /** A tag moves, so its source is asked first; a digest does not. */
  async function readManifest(
    repository: Repository,
    reference: ManifestReference,
    signal: AbortSignal,
  ): Promise<ManifestContent | undefined> {
    if (reference.kind === "digest") {
      const recalled = await recallManifest(repository, reference.digest);
      if (recalled !== undefined) return recalled;
    }
    try {
      const content = await source.manifests.read(repository, reference, signal);
      if (content !== undefined) await remember(repository, reference, content);
      return content;
    } catch (error) {
      const recalled = isUnavailable(error) && reference.kind === "tag" ? await recallTagged(repository, reference.tag) : undefined;
      if (recalled !== undefined) return recalled;
      throw error;
    }
  }

  return {
    manifests: {
      read: readManifest,
      async resolve(repository, reference, signal) {
        if (reference.kind === "digest") return (await readManifest(repository, reference, signal))?.descriptor;
        try {
          const descriptor = await source.manifests.resolve(repository, reference, signal);
          if (descriptor === undefined) return undefined;
          // with the manifest at hand the tag can be answered later, too
          const byDigest = { kind: "digest", digest: descriptor.digest } as const;
          const content = await readManifest(repository, byDigest, signal);
          if (content !== undefined) await remember(repository, reference, content);
          return descriptor;
        } catch (error) {
          const recalled = isUnavailable(error) ? await recallTagged(repository, reference.tag) : undefined;
          if (recalled !== undefined) return recalled.descriptor;
          throw error;
        }
      },
    },
    blobs: {
      async stat(repository, digest, signal) {
        const recalled = await recallBlob(repository, digest);
        if (recalled === undefined) return source.blobs.stat(repository, digest, signal);
        return { mediaType: "application/octet-stream", digest, size: recalled.length };
      },
      async read(repository, digest, range, signal) {
        const recalled = await recallBlob(repository, digest);
        if (recalled !== undefined) return contentOf(recalled, range);
        const content = await source.blobs.read(repository, digest, range, signal);
        if (content.range !== undefined || content.sizeBytes > blobLimitBytes) return content;
        const bytes = Buffer.concat(await content.body.toArray());
        await writeFileAtomic(fileOf(repository, "blobs", digest), bytes);
        return contentOf(bytes, undefined);
      },
    },
  };
}

function contentOf(bytes: Buffer, range: Parameters<ReadableStore["blobs"]["read"]>[2]): BlobContent {
  const whole = (part: Buffer): Readable => Readable.from(part.length === 0 ? [] : [part], { objectMode: false });
  if (range === undefined) return { sizeBytes: bytes.length, body: whole(bytes) };
  const clipped = clipRange(range, bytes.length);
  return { sizeBytes: bytes.length, range: clipped, body: whole(bytes.subarray(clipped.first, clipped.last + 1)) };
}

const isUnavailable = (error: unknown): boolean => error instanceof DistributionError && error.code === "UNAVAILABLE";

async function readFileOrUndefined(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** A file that is torn or foreign counts as absent: it is only a copy. */
async function recallJson<S extends z.ZodType>(file: string, schema: S): Promise<z.infer<S> | undefined> {
  const bytes = await readFileOrUndefined(file);
  if (bytes === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(bytes.toString("utf8")));
  } catch {
    return undefined;
  }
}
