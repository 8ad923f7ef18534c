import type { Descriptor } from "../../oci/descriptor.ts";
import { DistributionError } from "../../oci/errors.ts";
import type { BlobStore, DistributionStore, ManifestStore } from "../../oci/store.ts";

/** The half of a store that pulls need; an upstream registry is one too. */
export type ReadableStore = {
  readonly blobs: Pick<BlobStore, "stat" | "read">;
  readonly manifests: Pick<ManifestStore, "resolve" | "read">;
};

/**
 * Asks the sources in order until one has it. One that fails counts as one that lacks it as long as another has it; when none does,
 * the failure is the answer: "absent" is only said when everybody said so.
 */
export function firstOf(sources: readonly ReadableStore[]): ReadableStore {
  async function ask<T>(signal: AbortSignal, question: (source: ReadableStore) => Promise<T | undefined>): Promise<T | undefined> {
    let failure: { readonly error: unknown } | undefined;
    for (const source of sources) {
      try {
        const answer = await question(source);
        if (answer !== undefined) return answer;
      } catch (error) {
        signal.throwIfAborted();
        if (isAnswer(error)) throw error;
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
    return undefined;
  }
  return {
    blobs: {
      stat: (repository, digest, signal) => ask<Descriptor>(signal, (source) => source.blobs.stat(repository, digest, signal)),
      async read(repository, digest, range, signal) {
        const content = await ask(signal, (source) => unlessUnknown(source.blobs.read(repository, digest, range, signal)));
        if (content === undefined) throw new DistributionError("BLOB_UNKNOWN", { digest });
        return content;
      },
    },
    manifests: {
      resolve: (repository, reference, signal) => ask(signal, (source) => source.manifests.resolve(repository, reference, signal)),
      read: (repository, reference, signal) => ask(signal, (source) => source.manifests.read(repository, reference, signal)),
    },
  };
}

/** Nothing can be pushed through it. */
export function readOnly(source: ReadableStore): DistributionStore {
  const refuse = () => Promise.reject(new DistributionError("UNSUPPORTED", { reason: "a mirror of another registry takes no pushes" }));
  return {
    blobs: { ...source.blobs, mount: async () => undefined },
    uploads: { start: refuse, status: refuse, append: refuse, finish: refuse, abort: refuse },
    manifests: { ...source.manifests, write: refuse, tags: refuse },
  };
}

async function unlessUnknown<T>(content: Promise<T>): Promise<T | undefined> {
  try {
    return await content;
  } catch (error) {
    if (error instanceof DistributionError && error.code === "BLOB_UNKNOWN") return undefined;
    throw error;
  }
}

/** A refusal of the request itself, which the next source would only repeat. */
const isAnswer = (error: unknown): boolean => error instanceof DistributionError && error.code === "RANGE_INVALID";
